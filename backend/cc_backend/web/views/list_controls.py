"""Everything around the rows of the job list: the form of filters, views, orders, pages."""

from dataclasses import dataclass

from flask import url_for

from cc_backend.http.guard import current_caller
from cc_backend.jobs.filter_parameters import VERDICTS, ends
from cc_backend.services import current
from cc_backend.web.filter_labels import verdict_word
from cc_backend.web.list_address import PAGE_SIZES, RANGES, SORTS, VIEWS, ListQuery
from cc_backend.web.views.list_pills import tag_names
from cc_backend.wording.format import at, duration, number
from cc_backend.wording.labels import STATE_WORDS

_STATES = tuple((state, STATE_WORDS[state]) for state in STATE_WORDS)
_MOST_TAGS = 60
_RANGE_FIELDS = (
    ("duration", "Run time", "30min", "12h"),
    ("numNodes", "Nodes", "1", "16"),
    ("numHWThreads", "Hardware threads", "", ""),
    ("numAccelerators", "GPUs", "", ""),
    ("energy", "Energy, kWh", "", ""),
)
_IN_FORM = frozenset(
    {
        "verdict",
        "tag",
        "jobName",
        "node",
        "user",
        "project",
        "nodeMatch",
        "userMatch",
        "projectMatch",
        *(name for name, *_ in _RANGE_FIELDS),
    }
)


@dataclass(frozen=True, slots=True)
class RangeField:
    """Two fields of the form: both ends of a range, with examples."""

    name: str
    label: str
    low: str
    high: str
    example_low: str
    example_high: str


def controls(query: ListQuery, total: int, shown: int) -> dict[str, object]:
    """Addresses and words of everything around the rows."""
    path = url_for("web.jobs")
    first = (query.page - 1) * query.per + 1
    last = first + shown - 1
    return {
        "clear_all": query.without_filters().address(path),
        "first_page": query.with_(page=1).address(path),
        "views": [(name, name.capitalize(), query.with_(view=name, page=query.page).address(path)) for name in VIEWS],
        "sorts": [(name, words) for name, (words, _, _) in SORTS.items()],
        "page_sizes": PAGE_SIZES,
        "form": form_fields(query),
        "other_parameters": [p for p in query.parameters() if p[0] not in ("sort", "per", "page")],
        "range_words": f"{number(first)}\N{EN DASH}{number(last)} of {number(total)}",
        "previous": query.with_(page=query.page - 1).address(path) if query.page > 1 else "",
        "next": query.with_(page=query.page + 1).address(path) if last < total else "",
    }


def form_fields(query: ListQuery) -> dict[str, object]:
    """What the form of filters shows; `kept` are the parameters that have no field."""
    form_names = {"state", "cluster", "ended", "started", "from", "to", "ran", "q", "page"}
    names = dict(list(tag_names().items())[:_MOST_TAGS])
    chosen = query.values("tag")
    return {
        "states": _STATES,
        "verdicts": [(value, verdict_word(value), value in query.values("verdict")) for value in VERDICTS],
        "clusters": sorted(
            filter(current_caller().may_use_cluster, {*current().clusters.names(), *current().search.clusters()})
        ),
        "ranges": [(name, words) for name, (words, _) in RANGES.items()],
        "from": moment_field(query.from_s),
        "to": moment_field(query.to_s),
        "ran": moment_field(query.ran_at_s),
        "range_fields": [
            RangeField(name, label, *(ends(query.value(name)) if query.value(name) else ("", "")), low, high)
            for name, label, low, high in _RANGE_FIELDS
        ],
        "tags": [
            (id_, words, str(id_) in chosen or words.replace(": ", ":") in chosen) for id_, words in names.items()
        ],
        "quick_spans": quick_spans(query, current().settings.main.short_running_jobs_duration),
        **{name: ",".join(query.values(name)) for name in ("user", "project", "node")},
        "kept": [p for p in query.parameters() if p[0] not in _IN_FORM and p[0] not in form_names],
    }


def quick_spans(query: ListQuery, short_s: int) -> list[tuple[str, str, bool]]:
    """Words and addresses of the lists of short jobs alone and of all others, and whether it is this one.

    Jobs that ran less than `short_s` seconds are short; 0 means that none are.
    """
    if not short_s:
        return []
    path, rest = url_for("web.jobs"), query.without("duration")
    return [
        (words, rest.with_(filters=(*rest.filters, ("duration", span))).address(path), query.value("duration") == span)
        for words, span in (
            (f"Short jobs only, under {duration(short_s)}", f"lessthan-{short_s - 1}"),
            ("Without short jobs", f"morethan-{short_s}"),
        )
    ]


def moment_field(time_s: int | None) -> str:
    """The value of a field for a day and a time."""
    return "" if time_s is None else f"{at(time_s, None):%Y-%m-%dT%H:%M}"
