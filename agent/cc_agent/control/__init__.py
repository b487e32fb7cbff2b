"""The control socket: status, marks of jobs and pauses of counters, asked for by `cc-agent` on the same node."""

__all__ = ("client", "marks", "requests", "server", "status")
