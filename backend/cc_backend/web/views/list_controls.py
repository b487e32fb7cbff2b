"""Everything around the rows of the job list: the form of filters, views, orders, pages."""

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import url_for

from cc_backend.http.guard import current_caller
from cc_backend.jobs.filter_parameters import VERDICTS, range_ends
from cc_backend.services import current_services
from cc_backend.web.filter_labels import verdict_label
from cc_backend.web.list_address import PAGE_SIZES, SORTS, TIME_RANGES, VIEWS, ListAddress
from cc_backend.web.views.list_pills import visible_tag_names
from cc_backend.wording.format import format_duration, format_number, local_time
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
        "script",
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


def build_controls(query: ListAddress, total: int, shown: int) -> dict[str, object]:
    """Addresses and words of everything around the rows."""
    path = url_for("web.jobs")
    first = (query.page - 1) * query.per + 1
    last = first + shown - 1
    return {
        "clear_all": query.without_any_filter().to_address(path),
        "first_page": query.with_changes(page=1).to_address(path),
        "views": [
            (name, name.capitalize(), query.with_changes(view=name, page=query.page).to_address(path)) for name in VIEWS
        ],
        "sorts": [(name, words) for name, (words, _, _) in SORTS.items()],
        "page_sizes": PAGE_SIZES,
        "export_url": lambda form: _export_address(query, form),
        "form": build_form_fields(query),
        "other_parameters": [p for p in query.to_parameters() if p[0] not in ("sort", "per", "page")],
        "range_words": f"{format_number(first)}\N{EN DASH}{format_number(last)} of {format_number(total)}",
        "previous": query.with_changes(page=query.page - 1).to_address(path) if query.page > 1 else "",
        "next": query.with_changes(page=query.page + 1).to_address(path) if last < total else "",
    }


def _export_address(query: ListAddress, form: str) -> str:
    """The address of a file with all jobs of the list."""
    return f"{url_for('web.export_jobs')}?{urlencode([*query.with_changes(page=1).to_parameters(), ('format', form)])}"


def build_form_fields(query: ListAddress) -> dict[str, object]:
    """The fields of the filter form; `kept` are the parameters without a field."""
    form_names = {"state", "cluster", "ended", "started", "from", "to", "ran", "q", "page"}
    names = dict(list(visible_tag_names().items())[:_MOST_TAGS])
    chosen = query.values("tag")
    return {
        "states": _STATES,
        "verdicts": [(value, verdict_label(value), value in query.values("verdict")) for value in VERDICTS],
        "clusters": sorted(
            filter(
                current_caller().may_use_cluster,
                {*current_services().clusters.names(), *current_services().job_queries.cluster_names()},
            )
        ),
        "ranges": [(name, words) for name, (words, _) in TIME_RANGES.items()],
        "from": format_datetime_field(query.from_s),
        "to": format_datetime_field(query.to_s),
        "ran": format_datetime_field(query.ran_at_s),
        "range_fields": [
            RangeField(name, label, *(range_ends(query.value(name)) if query.value(name) else ("", "")), low, high)
            for name, label, low, high in _RANGE_FIELDS
        ],
        "tags": [
            (id_, words, str(id_) in chosen or words.replace(": ", ":") in chosen) for id_, words in names.items()
        ],
        "quick_spans": build_quick_spans(query, current_services().settings.main.short_running_jobs_duration),
        **{name: ",".join(query.values(name)) for name in ("user", "project", "node")},
        "kept": [p for p in query.to_parameters() if p[0] not in _IN_FORM and p[0] not in form_names],
    }


def build_quick_spans(query: ListAddress, short_s: int) -> list[tuple[str, str, bool]]:
    """Words and addresses of the lists of short jobs alone and of all others, and whether it is this one.

    Jobs that ran less than `short_s` seconds are short; 0 means that none are.
    """
    if not short_s:
        return []
    path, rest = url_for("web.jobs"), query.without_filters_named("duration")
    return [
        (
            words,
            rest.with_changes(filters=(*rest.filters, ("duration", span))).to_address(path),
            query.value("duration") == span,
        )
        for words, span in (
            (f"Short jobs only, under {format_duration(short_s)}", f"lessthan-{short_s - 1}"),
            ("Without short jobs", f"morethan-{short_s}"),
        )
    ]


def format_datetime_field(time_s: int | None) -> str:
    """The value of a `datetime-local` field."""
    return "" if time_s is None else f"{local_time(time_s, None):%Y-%m-%dT%H:%M}"
