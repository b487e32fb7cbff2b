"""The views: read the address, ask the services, show a template."""

__all__ = (
    "job_list_view",
    "job_view",
    "login",
    "old_addresses",
    "start",
    "theme",
)
