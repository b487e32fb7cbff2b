"""The REST API: parses requests, calls services, renders responses; no logic of its own."""

__all__ = (
    "blueprint",
    "routes",
    "write",
)
