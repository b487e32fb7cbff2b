"""What agent, Slurm adapter and backend share; standard library only."""

__version__ = "0.1.0"

__all__ = (
    "__version__",
    "check_report",
    "command",
    "deadline",
    "deadline_transport",
    "delivery",
    "error_codes",
    "errors",
    "hostlist",
    "job_document",
    "job_events",
    "json_reader",
    "json_values",
    "line_protocol",
    "logging_setup",
    "nats_client",
    "nearest_name",
    "node_states",
    "output",
    "settings",
    "systemd_notify",
    "units",
    "wake_event",
)
