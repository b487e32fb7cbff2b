"""Receivers of messages from elsewhere; `registry` lists the types."""

__all__ = (
    "base",
    "bmc",
    "http",
    "intake",
    "ipmi",
    "nats",
    "polling",
    "prometheus",
    "redfish",
    "redfish_readings",
    "registry",
)
