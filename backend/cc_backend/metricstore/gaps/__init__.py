"""Gaps in the data: when hosts sent samples, reasons for gaps, reasons as text, and the health of hosts."""

__all__ = (
    "analysis",
    "host_health",
    "reason_text",
    "reasons",
)
