"""What API, pages and store program share of HTTP: guard, bodies, query strings, responses, problems."""

__all__ = (
    "bodies",
    "cluster_scope",
    "direct_write",
    "downloads",
    "fallback",
    "guard",
    "ingest",
    "job_downloads",
    "openapi",
    "presented_token",
    "problems",
    "query_string",
    "responses",
    "routing",
    "store_views",
)
