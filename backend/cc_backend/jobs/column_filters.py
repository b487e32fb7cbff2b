"""Row rules, filters and orders of jobs over the columns in memory; the same as `filters` says in SQL.

Only hosts, tags and footprints are asked of the database, by their indexes.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import peewee

from cc_backend.db.database import Database, not_storable
from cc_backend.errors import NotAllowed
from cc_backend.jobs.filters import (
    INTERACTIVE,
    MAX_ID,
    JobFilter,
    TextMatch,
    TextOperator,
    prefix_ranges,
    script_part,
)
from cc_backend.jobs.job_columns import Array, JobColumns
from cc_backend.jobs.restricted_metrics import HiddenValues, footprint_metric
from cc_backend.jobs.tables import NOT_JUDGED, JobHostRow, JobTagRow
from cc_backend.model import MAX_UNLIMITED_RUN_S, MIN_START_S, OVERDUE_GRACE_S, RowRule
from cc_common.error_codes import ErrorCode

_BATCH = 900  # variables in a statement
_ROWS = 20_000
_MAX_SCRIPTS_READ = 1000
"""Scripts of a caller that are read one by one: the time of a search in all of them would tell of those of others."""
_MAX_DIGITS = 19  # of a number of 64 bits
_TEXT_FIELDS = {
    "user": "user",
    "project": "project",
    "jobName": "name",
    "cluster": "cluster",
    "subCluster": "sub_cluster",
    "partition": "partition",
}


def search_scripts(columns: JobColumns, wanted: JobFilter, row_rule: RowRule) -> None:
    """Find the scripts that a filter names before the columns are locked, so that nobody waits for a slow search."""
    if row_rule.all_jobs:
        for part in wanted.script_parts():
            columns.script_search.containing(part)


class ColumnFilter:
    """Finds the visible jobs that match, for one row rule at one moment; only inside `JobColumns.current`."""

    def __init__(
        self,
        columns: JobColumns,
        database: Database,
        row_rule: RowRule,
        *,
        now_s: int,
        hidden: HiddenValues | None = None,
    ) -> None:
        self.columns = columns
        self._database = database
        self._row_rule = row_rule
        self._now_s = now_s
        self._hidden = hidden
        self._durations: Array | None = None

    def matching(self, wanted: JobFilter) -> Array | None:
        """Whether each job is visible and matches; None if all of them are and do.

        Raises:
            NotAllowed: the filter names a cluster that the caller's token is not valid for.
            InvalidInput: a text has half a surrogate pair.
        """
        for cluster in wanted.clusters:
            if not self._row_rule.allows_cluster(cluster):
                raise NotAllowed(f"this token is not for cluster {cluster[:60]!r}", code=ErrorCode.CLUSTER_NOT_ALLOWED)
        found: Array | None = None
        try:
            for condition in self._conditions(wanted):
                found = condition if found is None else found & condition
        except UnicodeEncodeError as error:  # half a surrogate pair
            raise not_storable() from error
        return found

    def count(self, found: Array | None) -> int:
        """How many jobs were found."""
        return len(self.columns) if found is None else int(np.count_nonzero(found))

    def count_by(self, names: Sequence[str], found: Array | None) -> dict[tuple[str, ...], int]:
        """Texts of these columns -> number of jobs found with them, for those that occur."""
        keys = np.zeros(len(self.columns), np.int64)
        texts = [self.columns.texts[name] for name in names]
        for name, distinct in zip(names, texts, strict=True):
            keys = keys * max(1, len(distinct)) + self.columns[name]
        counts = np.bincount(keys if found is None else keys[found])
        result = {}
        for key in np.flatnonzero(counts).tolist():
            rest, values = key, []
            for distinct in reversed(texts):
                rest, number = divmod(rest, max(1, len(distinct)))
                values.append(distinct[number])
            result[tuple(reversed(values))] = int(counts[key])
        return result

    def durations(self) -> Array:
        """The duration of each job in seconds."""
        if self._durations is None:
            self._durations = self.columns.durations(self._now_s)
        return self._durations

    def footprint(self, key: str) -> Array:
        """The footprint value of each job, NaN where there is none or where it is hidden."""
        values = self.columns.footprint(key)
        hidden = () if self._hidden is None else self._hidden.clusters_of(footprint_metric(key))
        return np.where(self._any_of("cluster", hidden), np.nan, values) if hidden else values

    # Conditions

    def _conditions(self, wanted: JobFilter) -> Iterable[Array]:
        yield from self._visible()
        yield from self._lists(wanted)
        yield from self._ranges(wanted)
        yield from self._names(wanted)
        yield from self._relations(wanted)
        if wanted.overdue:
            yield self._overdue()
        for from_s, to_s in wanted.ran_windows():
            yield from _between(self.columns["start_time"], None, to_s)
            if from_s is not None:
                yield self.columns["start_time"] + self.durations() >= from_s
        if wanted.ended_from_s is not None:
            stops = self.columns["start_time"] + self.columns["duration"].astype(np.int64)
            yield (stops >= wanted.ended_from_s) & ~self.columns.running()

    def _visible(self) -> Iterable[Array]:
        rule = self._row_rule
        if not rule.all_jobs:
            own = self._any_of("user", (rule.user,) if rule.user else ())
            yield own | self._any_of("project", rule.projects) if rule.projects else own
        if rule.allowed_clusters:
            yield self._any_of("cluster", rule.allowed_clusters)

    def _lists(self, wanted: JobFilter) -> Iterable[Array]:
        for name, values in (
            ("state", tuple(map(str, wanted.states))),
            ("cluster", wanted.clusters),
            ("sub_cluster", wanted.sub_clusters),
            ("partition", wanted.partitions),
            ("user", wanted.users),
            ("project", wanted.projects),
            ("shared", wanted.shared),
        ):
            if values:
                yield self._any_of(name, values)
        if wanted.verdicts:
            orders = [NOT_JUDGED if level is None else level.order for level in wanted.verdicts]
            yield np.isin(self.columns["verdict"], orders)
        for name, numbers in (("job_id", wanted.job_ids), ("id", wanted.ids)):
            if numbers:
                yield np.isin(self._number_column(name), _storable(numbers))
        for name, number in (("job_id", wanted.job_id), ("array_job_id", wanted.array_job_id)):
            if number is not None:
                yield self.columns[name] == (number if number <= MAX_ID else -1)

    def _ranges(self, wanted: JobFilter) -> Iterable[Array]:
        columns = self.columns
        yield from _between(columns["start_time"], wanted.started_from_s, wanted.started_to_s)
        yield from _between(columns["num_nodes"], wanted.nodes_from, wanted.nodes_to)
        yield from _between(columns["num_hwthreads"], wanted.threads_from, wanted.threads_to)
        yield from _between(columns["num_acc"], wanted.accelerators_from, wanted.accelerators_to)
        if wanted.duration_from_s is not None or wanted.duration_to_s is not None:
            yield from _between(self.durations(), wanted.duration_from_s, wanted.duration_to_s)
        if wanted.energy_from is not None or wanted.energy_to is not None:
            yield from _between(self.energies(), wanted.energy_from, wanted.energy_to)
        for entry in wanted.footprint:
            values = self.footprint(entry.key)
            yield ~np.isnan(values)
            yield from _between(values, entry.from_value, entry.to_value)

    def _names(self, wanted: JobFilter) -> Iterable[Array]:
        for name, part in (
            ("name", wanted.name),
            ("user", wanted.user_contains),
            ("project", wanted.project_contains),
        ):
            if part:
                yield self._with_part(name, part)
        if wanted.script:
            yield self._with_script(wanted.script)
        if wanted.interactive is not None:
            yield self._any_of("name", (INTERACTIVE,)) == wanted.interactive
        for match in wanted.texts:
            yield self._text_match(match)
        if wanted.text:
            yield self._text(wanted.text, wanted.text_users)

    def _relations(self, wanted: JobFilter) -> Iterable[Array]:
        if wanted.hosts:
            yield self._on_hosts(wanted.hosts)
        if wanted.host_contains:
            yield self._host_match(TextOperator.CONTAINS, (wanted.host_contains,))
        if wanted.tags is None:
            yield self._none()
        elif wanted.tags:
            yield self._tagged(wanted.tags)
        for group in wanted.all_tags:
            yield self._tagged(group)
        if wanted.no_tags:
            yield ~self._tagged(wanted.no_tags)

    def _overdue(self) -> Array:
        columns = self.columns
        starts, limits = columns["start_time"], columns["walltime"].astype(np.int64)
        ran = self._now_s - starts.astype(np.int64)
        late = np.where(limits > 0, ran > limits + OVERDUE_GRACE_S, ran > MAX_UNLIMITED_RUN_S)
        return np.asarray(columns.running() & (late | (starts < MIN_START_S)))

    def energies(self) -> Array:
        """The energy of each job, NaN where it is hidden."""
        energy = self.columns["energy"]
        if self._hidden is None or not self._hidden.energy_clusters:
            return energy
        return np.where(self._any_of("cluster", self._hidden.energy_clusters), np.nan, energy)

    def _text(self, text: str, users: Sequence[str]) -> Array:
        found = self._with_part("name", text) | self._with_part("user", text) | self._with_part("project", text)
        found |= self._on_hosts((text,))
        if part := script_part(text):
            found |= self._with_script(part)
        if users:
            found |= self._any_of("user", users)
        if text.isascii() and text.isdigit() and 0 < int(text) <= MAX_ID:
            for low, high in prefix_ranges(int(text)):
                for name in ("job_id", "array_job_id"):
                    numbers = self.columns[name]
                    if low <= np.iinfo(numbers.dtype).max:
                        found |= (numbers >= low) & (numbers <= high)
        return found

    def _with_script(self, part: str) -> Array:
        """The jobs whose script has this part; of callers who see some jobs only those of these are read, if few."""
        numbers, search = self.columns.scripts(), self.columns.script_search
        mine: Array | None = None
        if not self._row_rule.all_jobs:
            visible = np.ones(len(numbers), bool)
            for condition in self._visible():
                visible &= condition
            mine = np.unique(numbers[visible])
        if mine is not None and len(mine) <= _MAX_SCRIPTS_READ:
            matching = search.among(part, mine[mine > 0].tolist())
        else:
            matching = search.containing(part)
        chosen = np.zeros(1 + max(int(numbers.max(initial=0)), int(matching.max(initial=0))), bool)
        chosen[matching] = True
        return np.asarray(chosen[numbers])

    def _text_match(self, match: TextMatch) -> Array:
        if match.field == "node":
            return self._host_match(match.operator, match.values)
        if match.field == "jobId":
            return self._number_match(match)
        name = _TEXT_FIELDS[match.field]
        texts = self.columns.texts[name]
        if not match.values:
            return self._none()
        if match.operator in (TextOperator.EQ, TextOperator.NEQ, TextOperator.IN):
            found = self._any_of(name, match.values)
            return ~found if match.operator is TextOperator.NEQ else found
        at_start, at_end = match.operator is TextOperator.STARTS_WITH, match.operator is TextOperator.ENDS_WITH
        return self._numbered(name, texts.containing(match.values[0], at_start=at_start, at_end=at_end))

    def _number_match(self, match: TextMatch) -> Array:
        """Job ids are compared as they are written."""
        numbers = [int(text) for text in match.values if _is_integer(text)]
        found = np.isin(self.columns["job_id"], numbers)
        if match.operator is TextOperator.NEQ and match.values:
            return ~found
        if match.operator in (TextOperator.EQ, TextOperator.IN) or not match.values:
            return found
        part = match.values[0]
        if not part:
            return ~self._none()
        if not (part.isascii() and part.isdigit()):
            return self._none()
        return self._with_digits(part, match.operator)

    def _with_digits(self, part: str, operator: TextOperator) -> Array:
        """The jobs whose number has these digits, at its start, at its end or anywhere."""
        ids, digits = self.columns["job_id"].astype(np.int64), len(part)
        if digits >= _MAX_DIGITS:
            return np.asarray(ids == min(int(part), MAX_ID + 1))
        found = self._none()
        for behind in range(1 if operator is TextOperator.ENDS_WITH else _MAX_DIGITS - digits + 1):
            rest = ids // 10**behind
            fits = rest % 10**digits == int(part)
            if part[0] == "0":  # only the number 0 begins with it
                fits &= rest >= (10**digits if digits > 1 else min(behind, 1))
            if operator is TextOperator.STARTS_WITH:
                fits &= rest < 10**digits
            found |= fits
        return found

    def _host_match(self, operator: TextOperator, values: Sequence[str]) -> Array:
        """The jobs on a host that is chosen by its name, from all names of hosts."""
        if not values:
            return self._none()
        if operator in (TextOperator.EQ, TextOperator.IN):
            return self._on_hosts(values)
        hosts, value = distinct_hosts(self._database), values[0]
        if operator is TextOperator.NEQ:
            return self._on_hosts([host for host in hosts if host != value])
        part = value.encode().lower()
        matches: dict[TextOperator, Callable[[bytes], bool]] = {
            TextOperator.CONTAINS: lambda host: part in host,
            TextOperator.STARTS_WITH: lambda host: host.startswith(part),
            TextOperator.ENDS_WITH: lambda host: host.endswith(part),
        }
        return self._on_hosts([host for host in hosts if matches[operator](host.encode().lower())])

    # Places of jobs

    def _any_of(self, name: str, values: Iterable[str]) -> Array:
        return self._numbered(name, self.columns.texts[name].numbers_of(values))

    def _with_part(self, name: str, part: str) -> Array:
        return self._numbered(name, self.columns.texts[name].containing(part))

    def _numbered(self, name: str, numbers: Sequence[int]) -> Array:
        """The jobs whose text has one of these numbers."""
        if not numbers:
            return self._none()
        if len(numbers) == 1:
            return np.asarray(self.columns[name] == numbers[0])
        chosen = np.zeros(len(self.columns.texts[name]), bool)
        chosen[numbers] = True
        return np.asarray(chosen[self.columns[name]])

    def _number_column(self, name: str) -> Array:
        return self.columns.ids if name == "id" else self.columns[name]

    def _on_hosts(self, hosts: Sequence[str]) -> Array:
        return self._linked(JobHostRow.job, JobHostRow.hostname, hosts)

    def _tagged(self, tags: Sequence[int]) -> Array:
        return self._linked(JobTagRow.job, JobTagRow.tag, tags)

    def _linked(self, job: Any, key: Any, values: Sequence[Any]) -> Array:
        """The jobs that a side table has with one of these values."""
        found = self._none()
        for begin in range(0, len(values), _BATCH):
            table: Any = job.model
            query = table.select(job).where(key.in_(values[begin : begin + _BATCH]))
            cursor: Any = self._database.raw_rows(query)
            while some := cursor.fetchmany(_ROWS):
                ids = [id_ for (id_,) in some if type(id_) is int]  # anything else is of a damaged row
                found[self.columns.places(np.array(ids, np.int64))] = True
        return found

    def _none(self) -> Array:
        return np.zeros(len(self.columns), bool)


def distinct_hosts(database: Database) -> list[str]:
    """The names of all hosts of jobs, sorted, by stepping through an index instead of reading the hosts of all jobs."""
    query = peewee.SQL(
        "WITH RECURSIVE host (name) AS (SELECT MIN(hostname) FROM job_host UNION ALL "
        "SELECT (SELECT MIN(hostname) FROM job_host WHERE hostname > host.name) FROM host WHERE host.name IS NOT NULL) "
        "SELECT name FROM host WHERE name IS NOT NULL"
    )
    return [name for (name,) in database.raw_rows(query) if type(name) is str]


def _is_integer(text: str) -> bool:
    """Whether this is how an integer of the database is written."""
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and str(int(text)) == text


def _storable(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if number <= MAX_ID]


def _between(values: Array, from_: float | None, to: float | None) -> Iterable[Array]:
    if from_ is not None:
        yield values >= from_
    if to is not None:
        yield values <= to
