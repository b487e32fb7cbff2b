"""The filters of the job list as pills: what they say, and the list without each of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import url_for

from cc_backend.http.guard import current_caller
from cc_backend.jobs.tags import list_tags
from cc_backend.services import current
from cc_backend.web.filter_labels import filter_pill
from cc_backend.web.list_address import RANGES, ListQuery, nearest
from cc_backend.wording.format import at
from cc_backend.wording.labels import STATE_WORDS, lower

_MATCHES = {"user": "userMatch", "project": "projectMatch", "node": "nodeMatch"}


@dataclass(frozen=True, slots=True)
class Pill:
    """One filter: its label, its value, the list without it, and whether it does nothing."""

    label: str
    value: str
    without: ListQuery
    understood: bool = True

    @property
    def address(self) -> str:
        """The address of the list without the filter."""
        return self.without.address(url_for("web.jobs"))


def pills_of(query: ListQuery) -> list[Pill]:
    """One pill for each filter of the list, those that are not understood last."""
    return [*_plain(query), *_shared(query), *_times(query), *_useless(query)]


def _plain(query: ListQuery) -> Iterator[Pill]:
    if query.states:
        yield Pill("state", ", ".join(lower(STATE_WORDS[state]) for state in query.states), query.with_(states=()))
    for label, field in (("cluster", "cluster"), ("subcluster", "sub_cluster"), ("partition", "partition")):
        if getattr(query, field):
            yield Pill(label, getattr(query, field), query.with_(**{field: ""}))
    if query.text:
        yield Pill("contains", query.text, query.with_(text=""))


def _shared(query: ListQuery) -> Iterator[Pill]:
    names = tag_names() if query.values("tag") else {}
    for name in dict.fromkeys(name for name, _ in query.filters):
        if name in _MATCHES.values():
            continue
        match = _MATCHES.get(name, "")
        label, value = filter_pill(name, query.values(name), query.value(match), names)
        yield Pill(label, value, query.without(name, match))


def _times(query: ListQuery) -> Iterator[Pill]:
    if query.ended:
        yield Pill("ended", RANGES[query.ended][0], query.with_(ended=""))
    if query.started:
        yield Pill("started", RANGES[query.started][0], query.with_(started=""))
    for label, field in (("from", "from_s"), ("to", "to_s"), ("ran at", "ran_at_s")):
        time_s = getattr(query, field)
        if time_s is not None:
            yield Pill(label, moment_words(time_s), query.with_(**{field: None}))


def _useless(query: ListQuery) -> Iterator[Pill]:
    for name in query.unused:
        yield Pill(f"{name} is not used", "as the start is given", query.with_(unused=()), understood=False)
    for pair in query.unknown:
        name, value = pair
        known = nearest(name)
        advice = f", did you mean {known}?" if known else ""
        rest = tuple(other for other in query.unknown if other != pair)
        yield Pill("not understood", f"{name}={value}{advice}", query.with_(unknown=rest), understood=False)


def tag_names() -> dict[int, str]:
    """Type and name of the tags that the caller may see, by id."""
    return {id_: f"{tag.type}: {tag.name}" for id_, tag in list_tags(current().database, current_caller())}


def moment_words(time_s: int) -> str:
    """A bound of the list: its day, and the time of day unless it is the edge of the day."""
    then = at(time_s, None)
    clock = "" if (then.hour, then.minute) in ((0, 0), (23, 59)) else f", {then:%H:%M}"
    return f"{then.day} {then:%b %Y}{clock}"
