"""HTTP/1.1 for both programs: connections and bodies, answers and their headers, compression."""

__all__ = (
    "compression",
    "file_body",
    "headers",
    "limits",
    "listening",
    "problem_json",
    "server",
    "workers",
    "wsgi",
)
