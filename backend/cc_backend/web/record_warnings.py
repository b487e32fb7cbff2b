"""Warnings about the record of a job, for list and page. Pure."""

from cc_backend.model import MIN_START_S, Job
from cc_backend.wording.format import format_duration, format_time_limit


def short_warning(job: Job) -> str:
    """The warning for the row of a job in a list; empty without one."""
    if job.damaged_columns:
        return "Record damaged"
    return "Overdue: its end may not have been reported" if job.is_overdue else ""


def record_warnings(job: Job) -> tuple[str, ...]:
    """All warnings about the record of a job, for its page."""
    found = []
    if job.damaged_columns:
        columns = ", ".join(name.replace("_", " ") for name in job.damaged_columns)
        found.append(f"Parts of this job's record in the database cannot be read: {columns}. The rest is shown.")
    if job.is_overdue:
        if job.start_time < MIN_START_S:
            found.append("Its start lies before the year 2000, which cannot be.")
        elif job.walltime:
            over = format_duration(job.duration - job.walltime)
            found.append(
                f"Runs {over} longer than its time limit of {format_time_limit(job.walltime)}: "
                "its end may not have been reported."
            )
        else:
            found.append("Runs for over a year without a time limit: its end may not have been reported.")
    return tuple(found)
