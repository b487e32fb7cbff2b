"""HTTP/1.1 for both programs: connections and bodies, answers and their headers, compression."""

__all__ = (
    "compression",
    "headers",
    "limits",
    "listening",
    "problem_json",
    "server",
    "workers",
    "wsgi",
)
