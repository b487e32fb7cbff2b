"""The address of the job list, parsed and written: every control of the list is a parameter.

Own names are short; those of the reference (`startTime`, `jobName`, `subCluster`, ...) are read as well, so that
links people kept still work. What is not understood stays in the query, so that the page can say so.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, tzinfo
from typing import Any
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from cc_backend.errors import InvalidInput
from cc_backend.jobs import filter_parameters
from cc_backend.jobs.filter_parameters import Parameter
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import JobState

DAY_S = 86400
TIME_RANGES = {
    "6h": ("last 6 hours", 6 * 3600),
    "24h": ("last day", DAY_S),
    "7d": ("last 7 days", 7 * DAY_S),
    "30d": ("last 30 days", 30 * DAY_S),
}
SORTS = {
    "newest": ("Start, newest first", "startTime", True),
    "oldest": ("Start, oldest first", "startTime", False),
    "longest": ("Run time, longest first", "duration", True),
    "shortest": ("Run time, shortest first", "duration", False),
    "nodes": ("Nodes, most first", "numNodes", True),
    "energy": ("Energy, most first", "energy", True),
    "verdict": ("Verdict, worst first", "verdict", False),
    "ended": ("End, latest first", "stopTime", True),
}
VIEWS = ("plots", "table")
PAGE_SIZES = (25, 50, 100)
MAX_PARAMETERS = 1200
_MAX_UNKNOWN = 20
_MAX_TEXT_LENGTH = 200
_MAX_NAME_LENGTH = 60
_LEGACY_RANGES = {"last6h": "6h", "last24h": "24h", "last7d": "7d", "last30d": "30d"}
_MAX_PAGE = 1_000_000
_ALIASES = {"job": "jobId", "array": "arrayJobId"}
_ENDS = tuple(f"{name}[{end}]" for name in filter_parameters.RANGES for end in ("from", "to"))
"""Parameters for one end of a range, as forms send them; the address then has the range."""
_OWN_PARAMETERS = (
    "state",
    "cluster",
    "sub",
    "subCluster",
    "partition",
    "q",
    "ended",
    "started",
    "startTime",
    "from",
    "to",
    "ran",
    "sort",
    "per",
    "page",
    "view",
)
KNOWN_PARAMETERS = (*_OWN_PARAMETERS, *_ALIASES, *filter_parameters.FILTER_NAMES, *_ENDS)
"""The names of all parameters."""


_COMMA_LISTS = frozenset({"verdict", "user", "project", "dbId", "jobId"})
_USUAL_MATCH = {"userMatch": "contains", "projectMatch": "eq", "nodeMatch": "eq"}
_TIME_DIGITS = 11
_LAST_TIME_S = 10**_TIME_DIGITS
"""Maximum Unix seconds, in the year 5138: `datetime` must be able to show them in any zone."""


@dataclass(frozen=True, slots=True)
class ListAddress:
    """What the job list shows: filters, order, page and view. Times are Unix seconds.

    `filters` are parameters of `jobs.filter_parameters` with their values. `unknown` are unknown parameters,
    `unused` names of those that others make useless.
    """

    states: tuple[JobState, ...] = ()
    cluster: str = ""
    sub_cluster: str = ""
    partition: str = ""
    text: str = ""
    ended: str = ""
    started: str = ""
    from_s: int | None = None
    to_s: int | None = None
    ran_at_s: int | None = None
    filters: tuple[Parameter, ...] = ()
    unknown: tuple[Parameter, ...] = ()
    unused: tuple[str, ...] = ()
    sort: str = "newest"
    page: int = 1
    per: int = PAGE_SIZES[0]
    view: str = VIEWS[0]

    def started_window(self, now_s: int) -> tuple[int | None, int | None]:
        """Earliest and latest start, where the query bounds them; a named range stays relative to now."""
        if self.started:
            return now_s - TIME_RANGES[self.started][1], None
        return self.from_s, self.to_s

    def to_filter(self, now_s: int) -> JobFilter:
        """The filter for the job queries; tags and the text search are added by the caller."""
        from_s, to_s = self.started_window(now_s)
        base = JobFilter(
            states=self.states,
            clusters=_as_tuple(self.cluster),
            sub_clusters=_as_tuple(self.sub_cluster),
            partitions=_as_tuple(self.partition),
            started_from_s=from_s,
            started_to_s=to_s,
            ran_at_s=self.ran_at_s,
            ended_from_s=now_s - TIME_RANGES[self.ended][1] if self.ended else None,
        )
        return filter_parameters.parse_filters(self.filters, base)

    def values(self, name: str) -> list[str]:
        """All values of a filter."""
        return [value for key, value in self.filters if key == name]

    def value(self, name: str) -> str:
        """The first value of a filter, or an empty string."""
        return next(iter(self.values(name)), "")

    @property
    def order(self) -> tuple[str, bool]:
        """Field and direction (true is descending) of the order."""
        _, key, descending = SORTS[self.sort]
        return key, descending

    def with_changes(self, **changes: Any) -> "ListAddress":
        """A copy with changed values; any change but that of the page goes back to page 1."""
        if "page" not in changes:
            changes["page"] = 1
        return replace(self, **changes)

    def without_filters_named(self, *names: str) -> "ListAddress":
        """A copy without these filters."""
        return self.with_changes(filters=tuple(pair for pair in self.filters if pair[0] not in names))

    def without_any_filter(self) -> "ListAddress":
        """A copy with only order, page size and view."""
        return ListAddress(sort=self.sort, per=self.per, view=self.view)

    def to_parameters(self) -> list[Parameter]:
        """Name and value of everything that is not at its default, in a fixed order."""
        out: list[Parameter] = [("state", state.value) for state in self.states]
        out += self.filters
        for name, attribute in _WRITTEN:
            value = getattr(self, attribute)
            if value is not None and value != _DEFAULTS[attribute]:
                out.append((name, str(value)))
        return [*out, *self.unknown]

    def to_address(self, path: str) -> str:
        """The address with this query."""
        query = urlencode(self.to_parameters())
        return f"{path}?{query}" if query else path


_WRITTEN = (
    ("cluster", "cluster"),
    ("sub", "sub_cluster"),
    ("partition", "partition"),
    ("q", "text"),
    ("ended", "ended"),
    ("started", "started"),
    ("from", "from_s"),
    ("to", "to_s"),
    ("ran", "ran_at_s"),
    ("sort", "sort"),
    ("per", "per"),
    ("view", "view"),
    ("page", "page"),
)
_DEFAULTS: Mapping[str, Any] = {item.name: item.default for item in fields(ListAddress)}


def parse_list_address(args: MultiDict[str, str], zone: tzinfo | None = None) -> ListAddress:
    """The query of an address; days are days of the zone.

    Raises:
        InvalidInput: a parameter has an invalid value, or there are more than 1200; the message names it.
    """
    names = list(args)
    count = sum(len(args.getlist(name)) for name in names)
    if count > MAX_PARAMETERS:
        raise InvalidInput(f"the address has {count} parameters; {MAX_PARAMETERS} is the most")
    started, from_s, to_s, unused = _window(args, zone)
    query = ListAddress(
        states=_states(args.getlist("state")),
        cluster=_text(args, "cluster"),
        sub_cluster=_text(args, "sub", "subCluster"),
        partition=_text(args, "partition"),
        text=_text(args, "q"),
        ended=_choice(args, "ended", ("", *TIME_RANGES)),
        started=started,
        from_s=from_s,
        to_s=to_s,
        ran_at_s=_time(str(args.get("ran", "")), "ran", zone),
        filters=_filters(args),
        unknown=_unknown(args, names),
        unused=unused,
        sort=_choice(args, "sort", tuple(SORTS)),
        page=min(max(1, _parse_integer(args, "page") or 1), _MAX_PAGE),
        per=int(_choice(args, "per", tuple(str(size) for size in PAGE_SIZES))),
        view=_choice(args, "view", VIEWS),
    )
    query.to_filter(0)  # raises for invalid filters
    return query


def is_canonical(args: MultiDict[str, str]) -> bool:
    """Whether an address has no single ends of ranges, which only forms send."""
    return not any(name in _ENDS for name in args)


def suggest_parameter(name: str) -> str:
    """The known parameter most similar to an unknown name; empty if none is."""
    folded = {known.casefold(): known for known in KNOWN_PARAMETERS if not known.endswith("]")}
    found = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[found[0]] if found else ""


def _as_tuple(value: str) -> tuple[str, ...]:
    return (value,) if value else ()


def _filters(args: MultiDict[str, str]) -> tuple[Parameter, ...]:
    """The filters that are shared with the API, in a fixed order, each value once."""
    spelled = [(name, value) for name in filter_parameters.FILTER_NAMES for value in args.getlist(name)]
    spelled += [(name, value) for own, name in _ALIASES.items() for value in args.getlist(own)]
    spelled += _joined_ends(args)
    values = filter_parameters.group_values(
        (name, part) for name, value in spelled for part in (value.split(",") if name in _COMMA_LISTS else [value])
    )
    for name, usual in _USUAL_MATCH.items():
        if values.get(name) == [usual] or len(values.get(name.removesuffix("Match"), ())) != 1:
            values.pop(name, None)
    if values.get("tagMatch") == [filter_parameters.TAG_MATCHES[0]] or len(values.get("tag", ())) < 2:  # noqa: PLR2004
        values.pop("tagMatch", None)
    return tuple((name, value) for name in filter_parameters.FILTER_NAMES for value in values.get(name, ()))


def _joined_ends(args: MultiDict[str, str]) -> Iterator[Parameter]:
    for name in filter_parameters.RANGES:
        low, high = (str(args.get(f"{name}[{end}]", "")).strip() for end in ("from", "to"))
        if low and high:
            yield name, f"{low}-{high}"
        elif low or high:
            yield name, f"morethan-{low}" if low else f"lessthan-{high}"


def _unknown(args: MultiDict[str, str], names: Iterable[str]) -> tuple[Parameter, ...]:
    found = []
    for name in names:
        value = str(args.get(name, ""))
        if name in KNOWN_PARAMETERS or not value.strip():
            continue
        if len(name) > _MAX_NAME_LENGTH or len(value) > _MAX_TEXT_LENGTH or not (name + value).isprintable():
            raise InvalidInput(f"'{name[:20]}' is not a parameter of this list")
        found.append((name, value))
    return tuple(found[:_MAX_UNKNOWN])


def _text(args: MultiDict[str, str], *names: str) -> str:
    for name in names:
        value = str(args.get(name, "")).strip()
        if value:
            if len(value) > _MAX_TEXT_LENGTH or not value.isprintable():
                raise InvalidInput(f"'{name}' is longer than {_MAX_TEXT_LENGTH} characters or has control characters")
            return value
    return ""


def _parse_integer(args: MultiDict[str, str], name: str) -> int | None:
    value = str(args.get(name, "")).strip()
    return filter_parameters.parse_integer(name, value) if value else None


def _choice(args: MultiDict[str, str], name: str, choices: Sequence[str]) -> str:
    return filter_parameters.parse_choice(name, str(args.get(name, "")) or choices[0], choices)


def _states(values: Sequence[str]) -> tuple[JobState, ...]:
    found: list[JobState] = []
    for value in values:
        if not value:
            continue
        try:
            state = JobState(value)
        except ValueError:
            raise InvalidInput(f"'state' does not know '{value[:40]}'") from None
        if state not in found:
            found.append(state)
    return tuple(state for state in JobState if state in found)


def _window(args: MultiDict[str, str], zone: tzinfo | None) -> tuple[str, int | None, int | None, tuple[str, ...]]:
    """The named range, or both ends of the window; and which of `from` and `to` the named range overrides."""
    started = _LEGACY_RANGES.get(str(args.get("startTime", "")), str(args.get("started", "")))
    ends = tuple(name for name in ("from", "to") if str(args.get(name, "")).strip())
    if started:
        if started not in TIME_RANGES:
            raise InvalidInput(f"'started' must be one of {', '.join(TIME_RANGES)}, not '{started[:40]}'")
        return started, None, None, ends
    legacy = str(args.get("startTime", ""))
    if legacy:
        first, _, last = legacy.partition("-")
        return "", _time(first, "startTime", zone), _time(last, "startTime", zone), ends
    from_s = _time(str(args.get("from", "")), "from", zone)
    to_s = _time(str(args.get("to", "")), "to", zone, end=True)
    if from_s is not None and to_s is not None and to_s < from_s:
        raise InvalidInput("'to' lies before 'from'")
    return "", from_s, to_s, ()


def _time(value: str, name: str, zone: tzinfo | None, *, end: bool = False) -> int | None:
    """Unix seconds from a number, a day or a day with a time; a day or a minute as the end means all of it."""
    value = value.strip()
    if not value or value == "0":
        return None
    if value.isascii() and value.isdigit() and len(value) <= _TIME_DIGITS:
        return int(value)
    try:
        if len(value) == 10:  # noqa: PLR2004 - a day and nothing else
            day = date.fromisoformat(value)
            hour, minute, second = (23, 59, 59) if end else (0, 0, 0)
            then = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
        else:
            then = datetime.fromisoformat(value)
            then = then if then.tzinfo else then.replace(tzinfo=zone)
            if end and then.second == 0:
                then = then.replace(second=59)
        seconds = int(then.timestamp())
    except (ValueError, OverflowError):
        raise InvalidInput(f"'{name}' must be a day such as 2026-03-12, not '{value[:40]}'") from None
    if not 0 <= seconds < _LAST_TIME_S:
        raise InvalidInput(f"'{name}' must lie between the years 1970 and 5138, not '{value[:40]}'")
    return seconds
