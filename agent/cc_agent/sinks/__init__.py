"""Sinks of samples; `registry` lists the types."""

__all__ = (
    "base",
    "http",
    "influx",
    "nats",
    "network",
    "prometheus",
    "registry",
    "victoriametrics",
)
