"""Pieces that every long-running process here needs: lock files, atomic files, clocks, periodic work, health."""
