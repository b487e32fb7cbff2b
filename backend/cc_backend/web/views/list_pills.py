"""The filters of the job list as pills: what they say, and the list without each of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import url_for

from cc_backend.http.guard import current_caller
from cc_backend.jobs.tags import list_tags
from cc_backend.services import current_services
from cc_backend.web.filter_labels import label_filter
from cc_backend.web.list_address import TIME_RANGES, ListAddress, suggest_parameter
from cc_backend.wording.format import local_time
from cc_backend.wording.labels import STATE_WORDS, lower_first

_MATCHES = {"tag": "tagMatch", "user": "userMatch", "project": "projectMatch", "node": "nodeMatch"}


@dataclass(frozen=True, slots=True)
class Pill:
    """One filter: its label, its value, the list without it, and whether it does nothing."""

    label: str
    value: str
    without: ListAddress
    understood: bool = True

    @property
    def address(self) -> str:
        """The address of the list without the filter."""
        return self.without.to_address(url_for("web.jobs"))


def build_pills(query: ListAddress) -> list[Pill]:
    """One pill for each filter of the list, unknown ones last."""
    return [*_plain_pills(query), *_filter_pills(query), *_time_pills(query), *_useless_pills(query)]


def _plain_pills(query: ListAddress) -> Iterator[Pill]:
    if query.states:
        yield Pill(
            "state", ", ".join(lower_first(STATE_WORDS[state]) for state in query.states), query.with_changes(states=())
        )
    for label, field in (("cluster", "cluster"), ("subcluster", "sub_cluster"), ("partition", "partition")):
        if getattr(query, field):
            yield Pill(label, getattr(query, field), query.with_changes(**{field: ""}))
    if query.text:
        yield Pill("contains", query.text, query.with_changes(text=""))


def _filter_pills(query: ListAddress) -> Iterator[Pill]:
    names = visible_tag_names() if query.values("tag") or query.values("noTag") else {}
    for name in dict.fromkeys(name for name, _ in query.filters):
        if name in _MATCHES.values():
            continue
        match = _MATCHES.get(name, "")
        label, value = label_filter(name, query.values(name), query.value(match), names)
        yield Pill(label, value, query.without_filters_named(name, match))


def _time_pills(query: ListAddress) -> Iterator[Pill]:
    if query.ended:
        yield Pill("ended", TIME_RANGES[query.ended][0], query.with_changes(ended=""))
    if query.started:
        yield Pill("started", TIME_RANGES[query.started][0], query.with_changes(started=""))
    for label, field in (("from", "from_s"), ("to", "to_s"), ("ran at", "ran_at_s")):
        time_s = getattr(query, field)
        if time_s is not None:
            yield Pill(label, format_bound(time_s), query.with_changes(**{field: None}))


def _useless_pills(query: ListAddress) -> Iterator[Pill]:
    for name in query.unused:
        yield Pill(f"{name} is not used", "as the start is given", query.with_changes(unused=()), understood=False)
    for pair in query.unknown:
        name, value = pair
        known = suggest_parameter(name)
        advice = f", did you mean {known}?" if known else ""
        rest = tuple(other for other in query.unknown if other != pair)
        yield Pill("not understood", f"{name}={value}{advice}", query.with_changes(unknown=rest), understood=False)


def visible_tag_names() -> dict[int, str]:
    """Type and name of the tags that the caller may see, by id."""
    return {id_: f"{tag.type}: {tag.name}" for id_, tag in list_tags(current_services().database, current_caller())}


def format_bound(time_s: int) -> str:
    """A bound of the list: its day, and the time of day unless it is the edge of the day."""
    then = local_time(time_s, None)
    clock = "" if (then.hour, then.minute) in ((0, 0), (23, 59)) else f", {then:%H:%M}"
    return f"{then.day} {then:%b %Y}{clock}"
