"""Job filters, row rules and sort orders as SQL terms. Values are bound parameters, column names come from a list."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import peewee

from cc_backend.errors import InvalidInput, NotAllowed
from cc_backend.jobs.restricted_metrics import HiddenValues, footprint_metric
from cc_backend.jobs.script_search import MIN_PART
from cc_backend.jobs.tables import (
    NOT_JUDGED,
    STOP_TIME,
    FootprintRow,
    JobHostRow,
    JobRow,
    JobScriptRow,
    JobTagRow,
    ScriptRow,
)
from cc_backend.model import MAX_UNLIMITED_RUN_S, MIN_START_S, OVERDUE_GRACE_S, JobState, Level, RowRule
from cc_common.error_codes import ErrorCode

MAX_ID = 2**63 - 1
INTERACTIVE = "interactive"
"""The name that Slurm gives to interactive jobs."""
FOOTPRINT_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,128}_(avg|min|max)")


@dataclass(frozen=True, slots=True)
class FootprintRange:
    """Filter by a footprint value; ends are inclusive, None is open."""

    key: str
    from_value: float | None = None
    to_value: float | None = None


class TextOperator(StrEnum):
    """How a text of a job is compared; the three that look for a part treat upper and lower case alike."""

    EQ = "eq"
    NEQ = "neq"
    CONTAINS = "contains"
    STARTS_WITH = "startsWith"
    ENDS_WITH = "endsWith"
    IN = "in"


TEXT_FIELDS = {
    "user": JobRow.user,
    "project": JobRow.project,
    "jobName": JobRow.name,
    "cluster": JobRow.cluster,
    "subCluster": JobRow.sub_cluster,
    "partition": JobRow.partition,
    "node": JobHostRow.hostname,
    "jobId": JobRow.job_id,
}
"""The fields that a `TextMatch` may name, by their JSON keys."""


@dataclass(frozen=True, slots=True)
class TextMatch:
    """Filter by a text: `field` is a key of `TEXT_FIELDS`; `in` takes several values, the other operators one.

    A job matches by `node` if one of its hosts does. An `in` without values matches no job.
    """

    field: str
    operator: TextOperator
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Conditions on jobs, all of which must hold; empty and None set none, entries of one list are alternatives.

    Times and durations are seconds, energy is kWh, ranges are inclusive. `text` matches a part of job name, user name
    or project, a whole host name, and, if it is a number, the start of job and array ids; the jobs of `text_users`
    match as well; with three characters, and if it is no number, it also matches a part of the job script, as `script`
    does. `hosts` are whole names, `*_contains` match a part of a name; the job ran at the time `ran_at_s`, or at some
    time from `ran_from_s` to `ran_to_s`; `ids` are database ids. `tags` are ids of tags, of which a job has
    one, and None (unlike empty) matches no job; of each group of `all_tags` it has one, of `no_tags` none. In
    `verdicts` None stands for jobs that are not judged. `ended_from_s` excludes running jobs.
    """

    states: tuple[JobState, ...] = ()
    clusters: tuple[str, ...] = ()
    sub_clusters: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    started_from_s: int | None = None
    started_to_s: int | None = None
    duration_from_s: int | None = None
    duration_to_s: int | None = None
    nodes_from: int | None = None
    nodes_to: int | None = None
    threads_from: int | None = None
    threads_to: int | None = None
    accelerators_from: int | None = None
    accelerators_to: int | None = None
    energy_from: float | None = None
    energy_to: float | None = None
    ran_at_s: int | None = None
    ran_from_s: int | None = None
    ran_to_s: int | None = None
    interactive: bool | None = None
    text: str = ""
    text_users: tuple[str, ...] = ()
    name: str = ""
    script: str = ""
    user_contains: str = ""
    project_contains: str = ""
    hosts: tuple[str, ...] = ()
    host_contains: str = ""
    ids: tuple[int, ...] = ()
    job_ids: tuple[int, ...] = ()
    job_id: int | None = None
    array_job_id: int | None = None
    tags: tuple[int, ...] | None = ()
    all_tags: tuple[tuple[int, ...], ...] = ()
    no_tags: tuple[int, ...] = ()
    verdicts: tuple[Level | None, ...] = ()
    ended_from_s: int | None = None
    footprint: tuple[FootprintRange, ...] = ()
    texts: tuple[TextMatch, ...] = ()
    overdue: bool = False
    """Only overdue jobs, see `Job.is_overdue`."""

    def script_parts(self) -> tuple[str, ...]:
        """The texts that are looked for in job scripts."""
        return tuple(part for part in (self.script, script_part(self.text)) if part)

    def ran_windows(self) -> list[tuple[int | None, int | None]]:
        """The spans of time of each of which a job must have run in some part."""
        at, between = (self.ran_at_s, self.ran_at_s), (self.ran_from_s, self.ran_to_s)
        return [window for window in (at, between) if window != (None, None)]


def script_part(text: str) -> str:
    """What of a text that somebody searches is looked for in job scripts; empty if nothing is.

    Numbers are those of jobs, and shorter texts are in nearly every script.
    """
    return "" if len(text) < MIN_PART or (text.isascii() and text.isdigit()) else text


def visible_condition(row_rule: RowRule) -> Any:
    """The SQL condition of a row rule, for every query of jobs."""
    mine = ownership_condition(row_rule)
    return mine & JobRow.cluster.in_(row_rule.allowed_clusters) if row_rule.allowed_clusters else mine


def ownership_condition(row_rule: RowRule) -> Any:
    """The part of that condition that concerns users and projects, regardless of the clusters of a token."""
    if row_rule.all_jobs:
        return peewee.SQL("1 = 1")
    own = (JobRow.user == row_rule.user) if row_rule.user else peewee.SQL("1 = 0")
    return own | JobRow.project.in_(row_rule.projects) if row_rule.projects else own


def visible_and_matching(
    row_rule: RowRule, job_filter: JobFilter, now_s: int, hidden: HiddenValues | None = None
) -> list[Any]:
    """The conditions of a row rule and a filter, all of which must hold; `hidden` values match no filter.

    Raises:
        NotAllowed: the filter names a cluster that the caller's token is not valid for.
    """
    for cluster in job_filter.clusters:
        if not row_rule.allows_cluster(cluster):
            raise NotAllowed(f"this token is not for cluster {cluster[:60]!r}", code=ErrorCode.CLUSTER_NOT_ALLOWED)
    return [visible_condition(row_rule), *filter_conditions(job_filter, now_s, hidden)]


def filter_conditions(job_filter: JobFilter, now_s: int, hidden: HiddenValues | None = None) -> list[Any]:
    """The SQL conditions of a filter, all of which must hold."""
    found: list[Any] = []
    lists: tuple[tuple[Any, tuple[str, ...]], ...] = (
        (JobRow.state, tuple(str(state) for state in job_filter.states)),
        (JobRow.cluster, job_filter.clusters),
        (JobRow.sub_cluster, job_filter.sub_clusters),
        (JobRow.partition, job_filter.partitions),
        (JobRow.user, job_filter.users),
        (JobRow.project, job_filter.projects),
        (JobRow.shared, job_filter.shared),
    )
    for column, values in lists:
        if values:
            found.append(column == values[0] if len(values) == 1 else column.in_(values))
    for term, from_, to in (
        (JobRow.start_time, job_filter.started_from_s, job_filter.started_to_s),
        (JobRow.num_nodes, job_filter.nodes_from, job_filter.nodes_to),
        (duration_term(now_s), job_filter.duration_from_s, job_filter.duration_to_s),
        (JobRow.num_hwthreads, job_filter.threads_from, job_filter.threads_to),
        (JobRow.num_acc, job_filter.accelerators_from, job_filter.accelerators_to),
        (_energy_term(hidden), job_filter.energy_from, job_filter.energy_to),
    ):
        found += _between(term, from_, to)
    found += _name_conditions(job_filter)
    for column, number in ((JobRow.job_id, job_filter.job_id), (JobRow.array_job_id, job_filter.array_job_id)):
        if number is not None:
            found.append(column == number)
    if job_filter.text:
        found.append(_text_condition(job_filter.text, job_filter.text_users))
    if job_filter.overdue:
        found.append(_overdue_condition(now_s))
    for from_s, to_s in job_filter.ran_windows():
        found += _between(JobRow.start_time, None, to_s)
        found += _between(JobRow.start_time + duration_term(now_s), from_s, None)
    found += [_text_match_condition(match) for match in job_filter.texts]
    return [*found, *_relation_conditions(job_filter, hidden)]


def _relation_conditions(job_filter: JobFilter, hidden: HiddenValues | None) -> list[Any]:
    """The conditions on hosts, tags and footprints; sub-queries, as joins would repeat a job with two of the tags."""
    found: list[Any] = []
    if job_filter.hosts:
        found.append(_on_host(JobHostRow.hostname.in_(job_filter.hosts)))
    if job_filter.host_contains:
        found.append(_on_host(JobHostRow.hostname.contains(job_filter.host_contains)))
    if job_filter.tags is None:
        found.append(peewee.SQL("1 = 0"))
    elif job_filter.tags:
        found.append(_has_tag(job_filter.tags))
    found += [_has_tag(group) for group in job_filter.all_tags]
    if job_filter.no_tags:
        found.append(~_has_tag(job_filter.no_tags))
    found += _outcome_conditions(job_filter)
    for entry in job_filter.footprint:
        inside = [FootprintRow.key == entry.key, *_between(FootprintRow.value, entry.from_value, entry.to_value)]
        found.append(JobRow.id.in_(FootprintRow.select(FootprintRow.job).where(*inside)))
        if hidden is not None:
            found.append(JobRow.cluster.not_in(sorted(hidden.clusters_of(footprint_metric(entry.key)))))
    return found


def _energy_term(hidden: HiddenValues | None) -> Any:
    """The energy of a job, NULL where it is hidden."""
    if hidden is None or not hidden.energy_clusters:
        return JobRow.energy
    return peewee.Case(None, [(JobRow.cluster.not_in(sorted(hidden.energy_clusters)), JobRow.energy)])


def _name_conditions(job_filter: JobFilter) -> list[Any]:
    """The conditions on names and ids of single jobs; contains() escapes the wildcards of LIKE."""
    found: list[Any] = []
    for column, text in (
        (JobRow.name, job_filter.name),
        (JobRow.user, job_filter.user_contains),
        (JobRow.project, job_filter.project_contains),
    ):
        if text:
            found.append(column.contains(text))
    if job_filter.script:
        found.append(_has_script(job_filter.script))
    for key, numbers in ((JobRow.id, job_filter.ids), (JobRow.job_id, job_filter.job_ids)):
        if numbers:
            found.append(key.in_(numbers))
    if job_filter.interactive is not None:
        found.append(JobRow.name == INTERACTIVE if job_filter.interactive else JobRow.name != INTERACTIVE)
    return found


def _has_script(part: str) -> Any:
    scripts = ScriptRow.select(ScriptRow.id).where(ScriptRow.text.contains(part))
    return JobRow.id.in_(JobScriptRow.select(JobScriptRow.job).where(JobScriptRow.script.in_(scripts)))


def _has_tag(tags: tuple[int, ...]) -> Any:
    return JobRow.id.in_(JobTagRow.select(JobTagRow.job).where(JobTagRow.tag.in_(tags)))


def _text_match_condition(match: TextMatch) -> Any:
    """The SQL condition of a text filter; peewee escapes the wildcards of LIKE."""
    column: Any = TEXT_FIELDS[match.field]
    if not match.values:
        return peewee.SQL("1 = 0")
    value = match.values[0]
    if match.field == "jobId":
        column = column.cast("TEXT")
    conditions = {
        TextOperator.EQ: lambda: column == value,
        TextOperator.NEQ: lambda: column != value,
        TextOperator.CONTAINS: lambda: column.contains(value),
        TextOperator.STARTS_WITH: lambda: column.startswith(value),
        TextOperator.ENDS_WITH: lambda: column.endswith(value),
        TextOperator.IN: lambda: column.in_(match.values),
    }
    condition = conditions[match.operator]()
    return _on_host(condition) if match.field == "node" else condition


def _on_host(term: Any) -> Any:
    return JobRow.id.in_(JobHostRow.select(JobHostRow.job).where(term))


def _overdue_condition(now_s: int) -> Any:
    """`Job.is_overdue` as an SQL condition."""
    ran = now_s - JobRow.start_time
    limited = (JobRow.walltime > 0) & (ran > JobRow.walltime + OVERDUE_GRACE_S)
    unlimited = (JobRow.walltime == 0) & (ran > MAX_UNLIMITED_RUN_S)
    return (JobRow.state == str(JobState.RUNNING)) & (limited | unlimited | (JobRow.start_time < MIN_START_S))


def _outcome_conditions(job_filter: JobFilter) -> list[Any]:
    """The conditions on verdict and end of a job."""
    found: list[Any] = []
    if job_filter.verdicts:
        orders = [NOT_JUDGED if level is None else level.order for level in job_filter.verdicts]
        found.append(JobRow.verdict.in_(orders))
    if job_filter.ended_from_s is not None:
        found += [job_filter.ended_from_s <= STOP_TIME, JobRow.state != str(JobState.RUNNING)]
    return found


def duration_term(now_s: int) -> Any:
    """Duration of a job in seconds as an SQL term; up to `now_s` if it is running."""
    running = JobRow.state == str(JobState.RUNNING)
    return peewee.Case(None, [(running, now_s - JobRow.start_time)], JobRow.duration)


def order_terms(order: str, *, descending: bool, now_s: int, hidden: HiddenValues | None = None) -> list[Any]:
    """The ORDER BY terms for a JSON key, with the id last; hidden values sort like missing ones.

    Raises:
        InvalidInput: the key is neither a sortable column nor a footprint key.
    """
    direction, nulls = "DESC" if descending else "ASC", None
    if order == "duration":
        term = duration_term(now_s)
    elif order == "energy":
        term = _energy_term(hidden)
        nulls = (
            None if term is JobRow.energy else "LAST" if descending else "FIRST"
        )  # NULL is the minimum, as in SQLite
    elif order in _SORTABLE:
        term = _SORTABLE[order]
    elif FOOTPRINT_KEY.fullmatch(order):
        term = FootprintRow.select(FootprintRow.value).where(FootprintRow.job == JobRow.id, FootprintRow.key == order)
        if hidden is not None:
            term = term.where(JobRow.cluster.not_in(sorted(hidden.clusters_of(footprint_metric(order)))))
        nulls = "LAST"
    else:
        raise InvalidInput(f"jobs cannot be ordered by {order[:80]!r}; use {', '.join(SORTABLE)} or a footprint key")
    if order == "verdict":
        newest_first = [peewee.Ordering(term, "DESC") for term in (JobRow.start_time, JobRow.id)]
        return [peewee.Ordering(term, direction), *newest_first]
    return [peewee.Ordering(term, direction, nulls=nulls), peewee.Ordering(JobRow.id, direction)]


_SORTABLE: dict[str, Any] = {
    "id": JobRow.id,
    "jobId": JobRow.job_id,
    "startTime": JobRow.start_time,
    "submitTime": JobRow.submit_time,
    "cluster": JobRow.cluster,
    "subCluster": JobRow.sub_cluster,
    "partition": JobRow.partition,
    "user": JobRow.user,
    "project": JobRow.project,
    "jobName": JobRow.name,
    "state": JobRow.state,
    "jobState": JobRow.state,
    "shared": JobRow.shared,
    "arrayJobId": JobRow.array_job_id,
    "walltime": JobRow.walltime,
    "numNodes": JobRow.num_nodes,
    "numHwthreads": JobRow.num_hwthreads,
    "numHWThreads": JobRow.num_hwthreads,
    "numAcc": JobRow.num_acc,
    "energy": JobRow.energy,
    "verdict": JobRow.verdict,
    "stopTime": STOP_TIME,
}
SORTABLE = ("duration", *_SORTABLE)


def _between(term: Any, from_: float | None, to: float | None) -> list[Any]:
    return [*([term >= from_] if from_ is not None else []), *([term <= to] if to is not None else [])]


def _text_condition(text: str, users: tuple[str, ...]) -> Any:
    # contains() escapes the wildcards of LIKE.
    found = JobRow.name.contains(text) | JobRow.user.contains(text) | JobRow.project.contains(text)
    found |= _on_host(JobHostRow.hostname == text)
    if part := script_part(text):
        found |= _has_script(part)
    if users:
        found |= JobRow.user.in_(users)
    if text.isascii() and text.isdigit() and 0 < int(text) <= MAX_ID:
        for low, high in prefix_ranges(int(text)):
            found |= JobRow.job_id.between(low, high) | JobRow.array_job_id.between(low, high)
    return found


def prefix_ranges(digits: int) -> list[tuple[int, int]]:
    """Minimum and maximum of the integers that start with these digits, for each length that fits the database."""
    ranges = [(digits * 10**more, (digits + 1) * 10**more - 1) for more in range(19)]
    return [(low, min(high, MAX_ID)) for low, high in ranges if low <= MAX_ID]
