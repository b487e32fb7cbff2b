"""The Slurm adapter: watches Slurm and sends job start, job stop and node state events."""
