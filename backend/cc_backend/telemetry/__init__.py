"""Metrics of the programs about themselves, as Prometheus text."""

__all__ = (
    "exposition",
    "job_metrics",
    "process_metrics",
    "request_metrics",
    "store_metrics",
)
