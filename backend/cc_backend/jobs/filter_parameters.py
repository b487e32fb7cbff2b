"""Parameters that filter jobs, shared by the query strings of pages and API, named as in ClusterCockpit 1.5.

| parameter | form |
|---|---|
| `duration` | a range of durations: `3600-7200`, `30min-2h`, `lessthan-300`, `morethan-1h` |
| `numNodes`, `numHWThreads`, `numAccelerators` | a range of integers; a single one is both ends |
| `energy` | a range of numbers in kWh |
| `stat` | `<metric>_<avg, min or max>-<range>`; may be repeated, all must hold |
| `tag` | the id of a tag, or `type:name`; several are alternatives, or with `tagMatch=all` all must be there |
| `noTag` | as `tag`: jobs with none of these |
| `shared` | `none`, `single_user` or `multi_user`; several are alternatives |
| `schedule` | `interactive` or `batch`: whether the job is called `interactive` |
| `verdict` | a level, or `none` for jobs that are not judged; several, also separated by commas, are alternatives |
| `overdue` | `yes`: jobs that run longer than their time limit allows |
| `dbId`, `jobId` | several are alternatives |
| `script` | a part of the job script, three characters or more |
| `arrayJobId`, `jobName` | the number of an array; a part of the name of the job |
| `node` | a host or a host list such as `n[01-04]`; with `nodeMatch=contains` a part of a name |
| `user` | one: a part of the name, or with `userMatch=eq` the whole name; several are alternatives |
| `project` | whole names, several are alternatives; with `projectMatch=contains` a part of one |

Ends of ranges are inclusive. Pure functions: names and values in, a `JobFilter` out.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cc_backend.errors import InvalidInput
from cc_backend.jobs.filters import FootprintRange, JobFilter
from cc_backend.jobs.script_search import MIN_PART
from cc_backend.model import Level
from cc_common.error_codes import ErrorCode
from cc_common.errors import HostlistError
from cc_common.hostlist import expand

Parameter = tuple[str, str]
NumberRange = tuple[float | None, float | None]

FILTER_NAMES = (
    "duration",
    "numNodes",
    "numHWThreads",
    "numAccelerators",
    "energy",
    "stat",
    "tag",
    "tagMatch",
    "noTag",
    "shared",
    "schedule",
    "verdict",
    "overdue",
    "dbId",
    "jobId",
    "arrayJobId",
    "jobName",
    "script",
    "node",
    "nodeMatch",
    "user",
    "userMatch",
    "project",
    "projectMatch",
)
"""All known parameter names."""
REPEATABLE = frozenset({"verdict", "stat", "tag", "noTag", "shared", "dbId", "jobId", "node", "user", "project"})
MAX_VALUES = 1000
"""Maximum values of one parameter, such as jobs that were picked by hand."""
MAX_STATS = 16
MAX_HOSTS = 4096
MAX_VALUE_LENGTH = 200
MAX_HOST_LIST_LENGTH = 2000
SHARED = ("none", "single_user", "multi_user")
SCHEDULES = ("interactive", "batch")
NOT_JUDGED_CHOICE = "none"
VERDICTS = (*(level.value for level in Level), NOT_JUDGED_CHOICE)
MATCHES = ("eq", "contains", "in")
TAG_MATCHES = ("any", "all")
_MAX_DIGITS = 18  # fit the database
_STAT = re.compile(r"([A-Za-z0-9_.:]{1,128}_(?:avg|min|max))-(.+)")
_TAG = re.compile(r"(?P<id>[0-9]{1,18})|(?P<type>[^:]+):(?P<name>.+)")
_DURATION_UNITS = {"s": 1, "": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(s|min|m|h|d|)")
_CLOCK = re.compile(r"([0-9]{1,6}):([0-5][0-9])(?::([0-5][0-9]))?")


@dataclass(frozen=True, slots=True)
class TagSelector:
    """A tag to filter by: its id, or its type and name."""

    id: int | None = None
    type: str = ""
    name: str = ""


def parse_filters(pairs: Iterable[Parameter], base: JobFilter | None = None) -> JobFilter:
    """The job filter that these parameters describe, on top of `base`. Tags are only validated here, see `parse_tags`.

    Raises:
        InvalidInput: a value is invalid, or there are too many; the text names the parameter.
    """
    values = group_values(pairs)
    changes: dict[str, Any] = {"footprint": tuple(parse_footprint_range(text) for text in values.get("stat", ()))}
    for name, (low, high, read) in RANGES.items():
        if name in values:
            changes[low], changes[high] = read(name, values[name][0])
    for name, (field, read_all) in _LISTS.items():
        if name in values:
            changes[field] = read_all(name, values[name])
    for name in ("tag", "noTag"):
        parse_tags(values.get(name, ()), name)
    for text in values.get("tagMatch", ()):
        parse_choice("tagMatch", text, TAG_MATCHES)
    return replace(base or JobFilter(), **changes, **_name_filters(values))


def group_values(pairs: Iterable[Parameter]) -> dict[str, list[str]]:
    """The values of each known name, without empty and repeated ones; unknown names are left out.

    Raises:
        InvalidInput: a value is too long or has control characters, or a name has more values than allowed.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        text = value.strip()
        if name not in FILTER_NAMES or not text:
            continue
        longest = MAX_HOST_LIST_LENGTH if name == "node" else MAX_VALUE_LENGTH
        if len(text) > longest or not text.isprintable():
            raise invalid_parameter(f"'{name}' is longer than {longest} characters or has control characters")
        if text not in found[name]:
            found[name].append(text)
    for name, texts in found.items():
        most = MAX_STATS if name == "stat" else MAX_VALUES if name in REPEATABLE else 1
        if len(texts) > most:
            raise invalid_parameter(f"'{name}' is given {len(texts)} times; the maximum is {most}")
    return dict(found)


def _name_filters(values: dict[str, list[str]]) -> dict[str, Any]:
    """Filters for users, projects and nodes, each by whole name or a part of it."""
    changes: dict[str, Any] = {}
    match = {name: parse_choice(name, values[name][0], MATCHES) for name in _MATCHED if name in values}
    users, projects, nodes = (values.get(name, []) for name in ("user", "project", "node"))
    if len(users) == 1 and match.get("userMatch", "contains") == "contains":
        changes["user_contains"] = users[0]
    elif users:
        changes["users"] = tuple(users)
    if len(projects) == 1 and match.get("projectMatch") == "contains":
        changes["project_contains"] = projects[0]
    elif projects:
        changes["projects"] = tuple(projects)
    if len(nodes) == 1 and match.get("nodeMatch") == "contains":
        changes["host_contains"] = nodes[0]
    elif nodes:
        changes["hosts"] = expand_host_lists(nodes)
    return changes


_MATCHED = ("userMatch", "projectMatch", "nodeMatch")


def expand_host_lists(texts: Sequence[str]) -> tuple[str, ...]:
    """The distinct hosts of host lists.

    Raises:
        InvalidInput: a text is not a host list, or there are too many hosts.
    """
    try:
        return tuple(dict.fromkeys(name for text in texts for name in expand(text, limit=MAX_HOSTS)))[:MAX_HOSTS]
    except HostlistError as error:
        raise invalid_parameter(f"'node' must be a host or a list such as n[01-04]: {error}") from None


def parse_tags(texts: Iterable[str], parameter: str = "tag") -> tuple[TagSelector, ...]:
    """Tags given by id or by `type:name`.

    Raises:
        InvalidInput: a text is neither.
    """
    found = []
    for text in texts:
        match = _TAG.fullmatch(text)
        if match is None:
            raise invalid_parameter(f"'{parameter}' must be the id of a tag or type:name, not '{text[:40]}'")
        number = match["id"]
        found.append(
            TagSelector(int(number)) if number else TagSelector(None, match["type"].strip(), match["name"].strip())
        )
    return tuple(found)


def parse_footprint_range(text: str) -> FootprintRange:
    """The footprint range of a text `<metric>_<avg, min or max>-<range>`."""
    match = _STAT.fullmatch(text)
    if match is None:
        raise invalid_parameter(f"'stat' must be like mem_used_max-10-100, not '{text[:60]}'")
    low, high = parse_number_range("stat", match[2])
    return FootprintRange(match[1], low, high)


def range_ends(text: str) -> tuple[str, str]:
    """Lower and upper end of a range as written, empty where it is open."""
    word, dash, rest = text.partition("-")
    if word in ("lessthan", "morethan"):
        return ("", rest) if word == "lessthan" else (rest, "")
    return word, (rest if dash else word)


def parse_number_range(name: str, text: str) -> NumberRange:
    """The range of a text `a-b`, `a-`, `lessthan-b`, `morethan-a`, or a single number for both ends."""
    return _parse_range(name, text, lambda part: _parse_number(name, part), "10-100, lessthan-100 or morethan-10")


def parse_integer_range(name: str, text: str) -> tuple[int | None, int | None]:
    """An integer range, written as in `parse_number_range`."""
    low, high = _parse_range(name, text, lambda part: float(parse_integer(name, part)), "2-8, lessthan-8 or morethan-2")
    return (None if low is None else int(low)), (None if high is None else int(high))


def parse_duration_range(name: str, text: str) -> tuple[int | None, int | None]:
    """A range of durations in seconds, each end as in `parse_duration`, written as in `parse_number_range`."""
    low, high = _parse_range(
        name, text, lambda part: float(parse_duration(name, part)), "3600-7200, 30min-2h or lessthan-300"
    )
    return (None if low is None else int(low)), (None if high is None else int(high))


def parse_duration(name: str, text: str) -> int:
    """Seconds of a duration: a plain number, `30min`, `2h`, `1d`, `2:30` or `2:30:00`."""
    match, clock = _DURATION.fullmatch(text.strip()), _CLOCK.fullmatch(text.strip())
    if match:
        return min(int(float(match[1]) * _DURATION_UNITS[match[2]]), 10**12)
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0)
    raise invalid_parameter(f"'{name}' must be a duration such as 90, 30min, 2h or 2:30, not '{text[:40]}'")


def parse_integer(name: str, text: str) -> int:
    """A non-negative integer of at most 18 digits, which fits the database."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise invalid_parameter(f"'{name}' must be an integer, not '{text[:40]}'")
    return int(text)


def parse_script_part(name: str, text: str) -> str:
    """A part of a job script that can be searched."""
    if len(text) < MIN_PART:
        raise invalid_parameter(f"'{name}' needs at least {MIN_PART} characters, not '{text}'")
    return text


def parse_choice(name: str, text: str, choices: Sequence[str]) -> str:
    """The text if it is one of the choices; raises InvalidInput otherwise."""
    if text not in choices:
        raise invalid_parameter(f"'{name}' must be one of {', '.join(choices)}, not '{text[:40]}'")
    return text


def invalid_parameter(text: str) -> InvalidInput:
    """The error for an invalid parameter."""
    return InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)


def _parse_range(name: str, text: str, read: Any, example: str) -> NumberRange:
    word, _, rest = text.partition("-")
    rest = rest.strip()
    if word in ("lessthan", "morethan"):
        value = read(rest)
        return (None, value) if word == "lessthan" else (value, None)
    if not word or ("-" in rest):
        raise invalid_parameter(f"'{name}' must be a range such as {example}, not '{text[:40]}'")
    low = read(word.strip())
    high = low if "-" not in text else read(rest) if rest else None
    if high is not None and high < low:
        raise invalid_parameter(f"'{name}' must be a range with the lower end first, not '{text[:40]}'")
    return low, high


def _parse_number(name: str, text: str) -> float:
    try:
        value = float(text) if text.isascii() and len(text) <= 40 and "_" not in text else math.nan  # noqa: PLR2004
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise invalid_parameter(f"'{name}' must be a number, not '{text[:40]}'")
    return value


def _parse_verdict(name: str, text: str) -> Level | None:
    word = parse_choice(name, text.strip(), VERDICTS)
    return None if word == NOT_JUDGED_CHOICE else Level(word)


RANGES: dict[str, tuple[str, str, Callable[[str, str], NumberRange]]] = {
    "numNodes": ("nodes_from", "nodes_to", parse_integer_range),
    "numHWThreads": ("threads_from", "threads_to", parse_integer_range),
    "numAccelerators": ("accelerators_from", "accelerators_to", parse_integer_range),
    "duration": ("duration_from_s", "duration_to_s", parse_duration_range),
    "energy": ("energy_from", "energy_to", parse_number_range),
}
_LISTS: dict[str, tuple[str, Callable[[str, list[str]], Any]]] = {
    "shared": ("shared", lambda name, texts: tuple(parse_choice(name, text, SHARED) for text in texts)),
    "schedule": ("interactive", lambda name, texts: parse_choice(name, texts[0], SCHEDULES) == SCHEDULES[0]),
    "verdict": (
        "verdicts",
        lambda name, texts: tuple(_parse_verdict(name, text) for text in ",".join(texts).split(",")),
    ),
    "overdue": ("overdue", lambda name, texts: bool(parse_choice(name, texts[0], ("yes",)))),
    "dbId": ("ids", lambda name, texts: tuple(parse_integer(name, text) for text in texts)),
    "jobId": ("job_ids", lambda name, texts: tuple(parse_integer(name, text) for text in texts)),
    "arrayJobId": ("array_job_id", lambda name, texts: parse_integer(name, texts[0])),
    "jobName": ("name", lambda _, texts: texts[0]),
    "script": ("script", lambda name, texts: parse_script_part(name, texts[0])),
}
