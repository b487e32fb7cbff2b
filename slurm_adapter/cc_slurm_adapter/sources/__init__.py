"""Slurm's commands and what they print."""

__all__ = (
    "commands",
    "gres",
    "slurm",
)
