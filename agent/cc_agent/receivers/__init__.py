"""Receivers of messages from elsewhere; `registry` lists the types."""

__all__ = (
    "base",
    "http",
    "intake",
    "nats",
    "polling",
    "prometheus",
    "registry",
)
