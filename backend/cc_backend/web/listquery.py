"""The job list as an address: every control is a parameter, read here and written here.

Own names are short; those of the reference (`startTime`, `jobName`, `subCluster`, ...) are read as well, so that
links people kept still work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, tzinfo
from typing import Any, Protocol
from urllib.parse import urlencode

from cc_backend.errors import InvalidInput
from cc_backend.model import JobState

DAY_S = 86400
RANGES = {
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
}
VIEWS = ("plots", "table")
PAGE_SIZES = (25, 50, 100)
_LONGEST_TEXT = 200
_LEGACY_RANGES = {"last6h": "6h", "last24h": "24h", "last7d": "7d", "last30d": "30d"}
_HIGHEST_PAGE = 1_000_000


class Arguments(Protocol):
    """What is read of a request's query: Werkzeug's MultiDict fits."""

    def get(self, key: str, default: str) -> str:
        """The first value of a name, or the default."""

    def getlist(self, key: str) -> list[str]:
        """All values of a name."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What the job list shows: filters, order, page and view. Times are Unix seconds."""

    states: tuple[JobState, ...] = ()
    cluster: str = ""
    sub_cluster: str = ""
    partition: str = ""
    user: str = ""
    project: str = ""
    node: str = ""
    text: str = ""
    job_id: int | None = None
    array_job_id: int | None = None
    started: str = ""
    from_s: int | None = None
    to_s: int | None = None
    sort: str = "newest"
    page: int = 1
    per: int = PAGE_SIZES[0]
    view: str = VIEWS[0]

    def started_window(self, now_s: int) -> tuple[int | None, int | None]:
        """Earliest and latest start, where the query bounds them; a named range stays relative to now."""
        if self.started:
            return now_s - RANGES[self.started][1], None
        return self.from_s, self.to_s

    @property
    def order(self) -> tuple[str, bool]:
        """Field and direction (true is descending) of the order."""
        _, key, descending = SORTS[self.sort]
        return key, descending

    @property
    def filtered(self) -> bool:
        """Whether any filter is set."""
        return bool(self.pills())

    def with_(self, **changes: Any) -> "ListQuery":
        """The same query with other values; anything but a new page goes back to page 1."""
        if "page" not in changes:
            changes["page"] = 1
        return replace(self, **changes)

    def without_filters(self) -> "ListQuery":
        """Only order, page size and view."""
        return ListQuery(sort=self.sort, per=self.per, view=self.view)

    def parameters(self) -> list[tuple[str, str]]:
        """Name and value of everything that differs from the plain list, in a fixed order."""
        out: list[tuple[str, str]] = [("state", state.value) for state in self.states]
        for name, attribute in _WRITTEN:
            value = getattr(self, attribute)
            if value is not None and value != _DEFAULTS[attribute]:
                out.append((name, str(value)))
        return out

    def address(self, path: str) -> str:
        """The query as an address."""
        query = urlencode(self.parameters())
        return f"{path}?{query}" if query else path

    def pills(self) -> list[tuple[str, str, "ListQuery"]]:
        """Label, value and the query without it, for each filter that is set."""
        out: list[tuple[str, str, ListQuery]] = []
        if self.states:
            words = ", ".join(STATE_NAMES[state] for state in self.states)
            out.append(("state", words, self.with_(states=())))
        for label, attribute in _PILLS:
            value = getattr(self, attribute)
            if value not in ("", None):
                out.append((label, str(value), self.with_(**{attribute: _DEFAULTS[attribute]})))
        if self.started:
            out.append(("started", RANGES[self.started][0], self.with_(started="")))
        return out


STATE_NAMES = {state: state.value.replace("_", " ") for state in JobState} | {
    JobState.PENDING: "waiting",
    JobState.TIMEOUT: "timed out",
    JobState.BOOT_FAIL: "boot failed",
    JobState.NODE_FAIL: "node failed",
}
_WRITTEN = (
    ("cluster", "cluster"),
    ("sub", "sub_cluster"),
    ("partition", "partition"),
    ("user", "user"),
    ("project", "project"),
    ("node", "node"),
    ("q", "text"),
    ("job", "job_id"),
    ("array", "array_job_id"),
    ("started", "started"),
    ("from", "from_s"),
    ("to", "to_s"),
    ("sort", "sort"),
    ("per", "per"),
    ("view", "view"),
    ("page", "page"),
)
_PILLS = (
    ("cluster", "cluster"),
    ("subcluster", "sub_cluster"),
    ("partition", "partition"),
    ("user", "user"),
    ("project", "project"),
    ("node", "node"),
    ("contains", "text"),
    ("job", "job_id"),
    ("array", "array_job_id"),
)
_DEFAULTS: Mapping[str, Any] = {item.name: item.default for item in fields(ListQuery)}


def read_query(args: Arguments, zone: tzinfo | None = None) -> ListQuery:
    """The query that an address says; days are those of the zone.

    Raises:
        InvalidInput: a parameter has a value that cannot be; the text names it.
    """
    text = _text(args, "q", "jobName")
    job_id = _whole(args, "job", "jobId")
    if text.isdigit() and job_id is None and len(text) <= 18:  # noqa: PLR2004 - 18 digits fit the database
        text, job_id = "", int(text)
    started, from_s, to_s = _window(args, zone)
    return ListQuery(
        states=_states(args.getlist("state")),
        cluster=_text(args, "cluster"),
        sub_cluster=_text(args, "sub", "subCluster"),
        partition=_text(args, "partition"),
        user=_text(args, "user"),
        project=_text(args, "project"),
        node=_text(args, "node"),
        text=text,
        job_id=job_id,
        array_job_id=_whole(args, "array", "arrayJobId"),
        started=started,
        from_s=from_s,
        to_s=to_s,
        sort=_choice(args, "sort", tuple(SORTS)),
        page=min(max(1, _whole(args, "page") or 1), _HIGHEST_PAGE),
        per=int(_choice(args, "per", tuple(str(size) for size in PAGE_SIZES))),
        view=_choice(args, "view", VIEWS),
    )


def _text(args: Arguments, *names: str) -> str:
    for name in names:
        value = str(args.get(name, "")).strip()
        if value:
            if len(value) > _LONGEST_TEXT or not value.isprintable():
                raise InvalidInput(f"'{name}' is longer than {_LONGEST_TEXT} characters or has control characters")
            return value
    return ""


def _whole(args: Arguments, *names: str) -> int | None:
    for name in names:
        value = str(args.get(name, "")).strip()
        if value:
            if not (value.isascii() and value.isdigit() and len(value) <= 18):  # noqa: PLR2004 - fits the database
                raise InvalidInput(f"'{name}' must be a whole number, not '{value[:40]}'")
            return int(value)
    return None


def _choice(args: Arguments, name: str, choices: Sequence[str]) -> str:
    value = str(args.get(name, "")) or choices[0]
    if value not in choices:
        raise InvalidInput(f"'{name}' must be one of {', '.join(choices)}, not '{value[:40]}'")
    return value


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


def _window(args: Arguments, zone: tzinfo | None) -> tuple[str, int | None, int | None]:
    started = _LEGACY_RANGES.get(str(args.get("startTime", "")), str(args.get("started", "")))
    if started:
        if started not in RANGES:
            raise InvalidInput(f"'started' must be one of {', '.join(RANGES)}, not '{started[:40]}'")
        return started, None, None
    legacy = str(args.get("startTime", ""))
    if legacy:
        first, _, last = legacy.partition("-")
        return "", _time(first, "startTime", zone), _time(last, "startTime", zone)
    from_s = _time(str(args.get("from", "")), "from", zone)
    to_s = _time(str(args.get("to", "")), "to", zone, end=True)
    if from_s is not None and to_s is not None and to_s < from_s:
        raise InvalidInput("'to' lies before 'from'")
    return "", from_s, to_s


def _time(value: str, name: str, zone: tzinfo | None, *, end: bool = False) -> int | None:
    """Unix seconds from a number, a day or a day with a time; a day as the end means all of it."""
    value = value.strip()
    if not value or value == "0":
        return None
    if value.isascii() and value.isdigit() and len(value) <= 11:  # noqa: PLR2004 - seconds until the year 5138
        return int(value)
    try:
        if len(value) == 10:  # noqa: PLR2004 - a day and nothing else
            day = date.fromisoformat(value)
            hour, minute, second = (23, 59, 59) if end else (0, 0, 0)
            then = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
        else:
            then = datetime.fromisoformat(value)
            then = then if then.tzinfo else then.replace(tzinfo=zone)
        return int(then.timestamp())
    except (ValueError, OverflowError):
        raise InvalidInput(f"'{name}' must be a day such as 2026-03-12, not '{value[:40]}'") from None
