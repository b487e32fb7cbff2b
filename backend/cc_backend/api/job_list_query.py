"""The query string of the job list: keys of the reference, spellings of its manual, and the filters of its pages."""

from dataclasses import dataclass

from cc_backend.errors import InvalidInput
from cc_backend.http.query_string import (
    Arguments,
    first,
    flag,
    optional_number,
    refuse_unknown,
    time_range,
)
from cc_backend.jobs import filter_parameters
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import JobState
from cc_common.error_codes import ErrorCode

_DEFAULT_ITEMS = 25
_STATE, _WITH_METADATA, _START_TIME = "state", "with-metadata", "start-time"
_CLUSTER, _PROJECT, _USER = "cluster", "project", "user"
_PAGE = "page"
_ITEMS = ("items-per-page", "items_per_page")
_STARTED = ("startTime[from]", "startTime[to]")
_NODES = ("numNodes[from]", "numNodes[to]")
# Persons and projects are whole names here, as programs mean them.
_FILTERS = tuple(name for name in filter_parameters.NAMES if not name.startswith((_PROJECT, _USER)))

PARAMETERS = (
    _STATE,
    _CLUSTER,
    _PROJECT,
    _USER,
    _START_TIME,
    *_STARTED,
    *_NODES,
    *_FILTERS,
    _PAGE,
    *_ITEMS,
    _WITH_METADATA,
)
"""Every name that is known; docs/api.md explains each."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which jobs, and which part of them."""

    filter: JobFilter
    page: int
    items_per_page: int
    with_metadata: bool
    tags: tuple[str, ...] = ()
    """What was asked for as `tag`; which tags these are depends on who asks."""


def read_list_query(arguments: Arguments) -> ListQuery:
    """What a query string asks for. Raises InvalidInput that names the parameter, also for an unknown one."""
    refuse_unknown(arguments, PARAMETERS)
    started_from_s, started_to_s = _started(arguments)
    base = JobFilter(
        states=tuple(_state(text) for text in arguments.getlist(_STATE)),
        clusters=_one(arguments, _CLUSTER),
        projects=_one(arguments, _PROJECT),
        users=_one(arguments, _USER),
        started_from_s=started_from_s,
        started_to_s=started_to_s,
        nodes_from=optional_number(arguments, _NODES[0]),
        nodes_to=optional_number(arguments, _NODES[1]),
    )
    pairs = [(name, value) for name in _FILTERS for value in arguments.getlist(name)]
    return ListQuery(
        filter=filter_parameters.read_filters(pairs, base),
        page=optional_number(arguments, _PAGE, minimum=1) or 1,
        items_per_page=optional_number(arguments, *_ITEMS, minimum=1) or _DEFAULT_ITEMS,
        with_metadata=flag(arguments, _WITH_METADATA),
        tags=tuple(arguments.getlist("tag")),
    )


def _state(text: str) -> JobState:
    try:
        return JobState(text)
    except ValueError:
        raise InvalidInput(
            f"state must be one of {', '.join(JobState)}, not {text[:60]!r}", code=ErrorCode.INVALID_PARAMETER
        ) from None


def _one(arguments: Arguments, name: str) -> tuple[str, ...]:
    given = first(arguments, name)
    return () if given is None else (given[1],)


def _started(arguments: Arguments) -> tuple[int | None, int | None]:
    given = first(arguments, _START_TIME)
    if given is not None:
        return time_range(*given)
    return optional_number(arguments, _STARTED[0]), optional_number(arguments, _STARTED[1])
