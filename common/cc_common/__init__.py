"""What agent, Slurm adapter and backend share; standard library only."""

__version__ = "0.1.0"
