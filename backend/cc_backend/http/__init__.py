"""What API, pages and store program share of HTTP: guard, bodies, query strings, responses, problems."""

__all__ = (
    "bodies",
    "cluster_scope",
    "direct_write",
    "fallback",
    "guard",
    "ingest",
    "openapi",
    "presented_token",
    "problems",
    "query_string",
    "responses",
    "routing",
    "store_views",
)
