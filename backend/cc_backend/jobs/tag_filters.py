"""Filters of jobs by tags, as far as the caller may see these tags."""

from collections.abc import Sequence
from dataclasses import replace

from cc_backend.auth.caller import Caller
from cc_backend.db.database import Database
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.tags import resolve_tag_ids


def with_tags(
    job_filter: JobFilter,
    database: Database,
    caller: Caller,
    *,
    tags: Sequence[str],
    no_tags: Sequence[str] = (),
    has_all: bool = False,
) -> JobFilter:
    """The filter for jobs with one of `tags`, or with `has_all` each of them, and with none of `no_tags`.

    Tags are given by id or as `type:name`; those that the caller may not see are on no job.
    """
    without = resolve_tag_ids(database, caller, no_tags) or ()
    if not has_all:
        return replace(job_filter, tags=resolve_tag_ids(database, caller, tags), no_tags=without)
    groups = [resolve_tag_ids(database, caller, [tag]) for tag in tags]
    if None in groups:
        return replace(job_filter, tags=None)
    return replace(job_filter, all_tags=tuple(group for group in groups if group), no_tags=without)
