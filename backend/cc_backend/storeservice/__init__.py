"""The metric store as a program of its own: `cc-backend metric-store`, with the HTTP interface of cc-metric-store."""

__all__ = ("cli",)
