"""The job list: everything it shows is in its address."""

from flask import Response, make_response, redirect, render_template, request, url_for

from cc_backend.auth.guard import current_caller
from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.rows import row_rule
from cc_backend.jobs.filters import JobFilter
from cc_backend.services import current
from cc_backend.web.listquery import PAGE_SIZES, RANGES, SORTS, VIEWS, ListQuery, read_query
from cc_backend.web.views.rows import list_rows
from cc_backend.wording.format import at, count, number
from cc_backend.wording.labels import STATE_WORDS

STATES = tuple((state, STATE_WORDS[state]) for state in STATE_WORDS)
PRIVATE = "private, no-cache"


@requires(Permission.PAGE)
def jobs() -> Response:
    """The list page; a job number that fits exactly one job leads straight to it."""
    services, caller = current(), current_caller()
    query = read_query(request.args)
    key, descending = query.order
    page = services.search.find(
        job_filter(query, services.now_s()),
        row_rule(caller),
        order=key,
        descending=descending,
        page=query.page,
        items_per_page=query.per,
        now_s=services.now_s(),
        with_meta_data=False,
    )
    if query.job_id is not None and page.total == 1 and request.args.get("q"):
        return make_response(redirect(url_for("web.job", job_id=page.jobs[0].id), code=303))
    rows, heads = list_rows(services, page.jobs, caller=caller, plots=query.view == "plots")
    html = render_template(
        "jobs.html",
        query=query,
        rows=rows,
        heads=heads,
        count_words=count(page.total, "job"),
        **_controls(query, page.total, len(rows)),
    )
    return private(html)


def job_filter(query: ListQuery, now_s: int) -> JobFilter:
    """What the search understands of the query."""
    from_s, to_s = query.started_window(now_s)
    return JobFilter(
        states=query.states,
        clusters=_one(query.cluster),
        sub_clusters=_one(query.sub_cluster),
        partitions=_one(query.partition),
        users=_one(query.user),
        projects=_one(query.project),
        node=query.node,
        text=query.text,
        job_id=query.job_id,
        array_job_id=query.array_job_id,
        started_from_s=from_s,
        started_to_s=to_s,
    )


def _one(value: str) -> tuple[str, ...]:
    return (value,) if value else ()


def _controls(query: ListQuery, total: int, shown: int) -> dict[str, object]:
    """Addresses and words of everything around the rows."""
    path = url_for("web.jobs")
    first = (query.page - 1) * query.per + 1
    return {
        "pills": [(label, value, without.address(path)) for label, value, without in _dated_pills(query)],
        "clear_all": query.without_filters().address(path),
        "first_page": query.with_(page=1).address(path),
        "views": [(name, name.capitalize(), query.with_(view=name, page=query.page).address(path)) for name in VIEWS],
        "sorts": [(name, words) for name, (words, _, _) in SORTS.items()],
        "page_sizes": PAGE_SIZES,
        "states": STATES,
        "ranges": [(name, words) for name, (words, _) in RANGES.items()],
        "clusters": sorted(
            filter(current_caller().may_use_cluster, {*current().clusters.names(), *current().search.clusters()})
        ),
        "from_day": _day(query.from_s),
        "to_day": _day(query.to_s),
        "other_parameters": [p for p in query.parameters() if p[0] not in ("sort", "per", "page")],
        "range_words": f"{number(first)}\N{EN DASH}{number(first + shown - 1)} of {number(total)}",
        "previous": query.with_(page=query.page - 1).address(path) if query.page > 1 else "",
        "next": query.with_(page=query.page + 1).address(path) if first + shown - 1 < total else "",
    }


def _dated_pills(query: ListQuery) -> list[tuple[str, str, ListQuery]]:
    """The pills of the query, and those for the bounds of the start as days."""
    pills = query.pills()
    if query.from_s is not None:
        pills.append(("from", _moment(query.from_s), query.with_(from_s=None)))
    if query.to_s is not None:
        pills.append(("to", _moment(query.to_s), query.with_(to_s=None)))
    return pills


def _moment(time_s: int) -> str:
    then = at(time_s, None)
    clock = "" if (then.hour, then.minute) in ((0, 0), (23, 59)) else f", {then:%H:%M}"
    return f"{then.day} {then:%b %Y}{clock}"


def _day(time_s: int | None) -> str:
    return "" if time_s is None else f"{at(time_s, None):%Y-%m-%d}"


def private(html: str) -> Response:
    """A page for this person only, which a browser may keep as long as it asks whether it is still the same."""
    response = make_response(html)
    response.headers["Cache-Control"] = PRIVATE
    response.add_etag()
    response.make_conditional(request)
    return response
