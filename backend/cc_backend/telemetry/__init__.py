"""Metrics of the programs about themselves, as Prometheus text."""
