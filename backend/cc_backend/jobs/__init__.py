"""Jobs: their life cycle, search, tags and payloads, and the states of nodes."""

__all__ = (
    "archive_queue",
    "cluster_generations",
    "filter_parameters",
    "filters",
    "job_json",
    "job_queries",
    "job_removal",
    "job_rows",
    "judgements",
    "lifecycle",
    "machine_states",
    "meta_changes",
    "meta_data",
    "node_states",
    "restricted_metrics",
    "running_jobs",
    "tables",
    "tags",
)
