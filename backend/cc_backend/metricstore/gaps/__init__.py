"""Why samples are missing: what hosts sent and when, the reasons in words, the health of nodes."""

__all__ = (
    "analysis",
    "host_health",
    "reason_text",
    "reasons",
)
