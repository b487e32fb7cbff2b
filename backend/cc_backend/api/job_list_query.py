"""The query string of the job list: keys of ClusterCockpit 1.5 and its manual, and the filters of the pages."""

from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from cc_backend.auth.caller import Caller
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput
from cc_backend.http.downloads import FORMAT
from cc_backend.http.query_string import (
    first_given,
    optional_integer,
    parse_flag,
    parse_integer,
    parse_time_range,
    reject_unknown,
)
from cc_backend.jobs import filter_parameters
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.tag_filters import with_tags
from cc_backend.model import JobState
from cc_common.error_codes import ErrorCode

_DEFAULT_ITEMS = 25
_STATE, _WITH_METADATA, _START_TIME = "state", "with-metadata", "start-time"
_CLUSTER, _PROJECT, _USER = "cluster", "project", "user"
_RAN = "ran"
_PAGE = "page"
_ITEMS = ("items-per-page", "items_per_page")
PAGE_PARAMETERS = (_PAGE, *_ITEMS)
_STARTED = ("startTime[from]", "startTime[to]")
_NODES = ("numNodes[from]", "numNodes[to]")
# Users and projects are whole names here, as programs expect.
_FILTERS = tuple(name for name in filter_parameters.FILTER_NAMES if not name.startswith((_PROJECT, _USER)))

FILTER_PARAMETERS = (
    _STATE,
    _CLUSTER,
    _PROJECT,
    _USER,
    _START_TIME,
    *_STARTED,
    _RAN,
    *_NODES,
    *_FILTERS,
)
"""All parameters that filter jobs."""
PARAMETERS = (*FILTER_PARAMETERS, _PAGE, *_ITEMS, _WITH_METADATA, FORMAT)
"""All parameters of the job list; docs/api.md describes each."""


@dataclass(frozen=True, slots=True)
class ParsedFilter:
    """A filter whose tags are not resolved yet, because which tags they match depends on the caller."""

    filter: JobFilter
    tags: tuple[str, ...] = ()
    no_tags: tuple[str, ...] = ()
    has_all_tags: bool = False

    def resolve(self, database: Database, caller: Caller) -> JobFilter:
        """The filter with the tags that the caller may see."""
        return with_tags(self.filter, database, caller, tags=self.tags, no_tags=self.no_tags, has_all=self.has_all_tags)


@dataclass(frozen=True, slots=True)
class JobListQuery:
    """A parsed query of the job list: filter and page."""

    filter: ParsedFilter
    page: int
    items_per_page: int
    with_metadata: bool


def parse_job_list_query(arguments: MultiDict[str, str]) -> JobListQuery:
    """The parsed query string. Raises InvalidInput that names an invalid or unknown parameter."""
    reject_unknown(arguments, PARAMETERS)
    return JobListQuery(
        filter=parse_job_filter(arguments),
        page=optional_integer(arguments, _PAGE, minimum=1) or 1,
        items_per_page=optional_integer(arguments, *_ITEMS, minimum=1) or _DEFAULT_ITEMS,
        with_metadata=parse_flag(arguments, _WITH_METADATA),
    )


def parse_job_filter(arguments: MultiDict[str, str]) -> ParsedFilter:
    """The filter of a query string. Raises InvalidInput that names an invalid parameter."""
    started_from_s, started_to_s = _start_range(arguments)
    ran_from_s, ran_to_s = _ran_range(arguments)
    base = JobFilter(
        states=tuple(_parse_state(text) for text in arguments.getlist(_STATE)),
        clusters=_single_value(arguments, _CLUSTER),
        projects=_single_value(arguments, _PROJECT),
        users=_single_value(arguments, _USER),
        started_from_s=started_from_s,
        started_to_s=started_to_s,
        ran_from_s=ran_from_s,
        ran_to_s=ran_to_s,
        nodes_from=optional_integer(arguments, _NODES[0]),
        nodes_to=optional_integer(arguments, _NODES[1]),
    )
    pairs = [(name, value) for name in _FILTERS for value in arguments.getlist(name)]
    return ParsedFilter(
        filter=filter_parameters.parse_filters(pairs, base),
        tags=tuple(arguments.getlist("tag")),
        no_tags=tuple(arguments.getlist("noTag")),
        has_all_tags=arguments.get("tagMatch") == "all",
    )


def _parse_state(text: str) -> JobState:
    try:
        return JobState(text)
    except ValueError:
        raise InvalidInput(
            f"state must be one of {', '.join(JobState)}, not {text[:60]!r}", code=ErrorCode.INVALID_PARAMETER
        ) from None


def _single_value(arguments: MultiDict[str, str], name: str) -> tuple[str, ...]:
    given = first_given(arguments, name)
    return () if given is None else (given[1],)


def _ran_range(arguments: MultiDict[str, str]) -> tuple[int | None, int | None]:
    """Both ends of `<from>-<to>`, of which either may be empty."""
    text = arguments.get(_RAN)
    if text is None:
        return None, None
    begin, dash, end = text.partition("-")
    if not dash:
        text = f"{_RAN} must be <from>-<to> in Unix seconds, with one end left out if it is open, not {text[:60]!r}"
        raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)
    return (parse_integer(_RAN, begin) if begin else None), (parse_integer(_RAN, end) if end else None)


def _start_range(arguments: MultiDict[str, str]) -> tuple[int | None, int | None]:
    given = first_given(arguments, _START_TIME)
    if given is not None:
        return parse_time_range(*given)
    return optional_integer(arguments, _STARTED[0]), optional_integer(arguments, _STARTED[1])
