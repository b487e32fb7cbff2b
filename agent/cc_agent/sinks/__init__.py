"""Where samples go; `registry` knows the types."""

__all__ = (
    "base",
    "http",
    "registry",
)
