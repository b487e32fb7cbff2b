"""The REST API: parse, call, answer; no logic of its own."""

__all__ = (
    "blueprint",
    "routes",
    "write",
)
