"""The job list: everything it shows is in its address."""

from dataclasses import replace

from flask import Response, make_response, redirect, render_template, request, url_for

from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.row_rules import row_rule
from cc_backend.http.guard import current_caller, page_etag
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_queries import JobPage
from cc_backend.jobs.tags import chosen_tags
from cc_backend.services import Services, current
from cc_backend.web.list_address import ListQuery, is_canonical, read_query
from cc_backend.web.search_text import SearchText, read_search
from cc_backend.web.views.list_controls import controls
from cc_backend.web.views.list_pills import Pill, pills_of
from cc_backend.web.views.list_rows import list_rows
from cc_backend.wording.format import count

PRIVATE = "private, no-cache"
_MOST_HINTS = 4


@requires(Permission.PAGE)
def jobs() -> Response:
    """The list page; a search that is the number of exactly one job leads straight to it."""
    services = current()
    query = read_query(request.args)
    if not is_canonical(request.args):
        return _to(query)
    search = read_search(query.text) if query.text else SearchText()
    if search.filter:
        return _to(query.without(search.filter[0]).with_(text="", filters=(*query.filters, search.filter)))
    if search.number is not None and len(request.args) == 1:
        same = _find(services, JobFilter(job_id=search.number), per=2)
        if same.total == 1:
            return make_response(redirect(url_for("web.job", job_id=same.jobs[0].id), code=303))
    key, descending = query.order
    wanted = job_filter(services, query, search)
    page = _find(services, wanted, order=key, descending=descending, page=query.page, per=query.per)
    rows, heads = list_rows(services, page.jobs, caller=current_caller(), plots=query.view == "plots")
    pills = pills_of(query)
    html = render_template(
        "jobs.html",
        query=query,
        rows=rows,
        heads=heads,
        pills=pills,
        hints=_hints(services, pills, page.total),
        count_words=count(page.total, "job"),
        **controls(query, page.total, len(rows)),
    )
    return private(html)


def job_filter(services: Services, query: ListQuery, search: SearchText) -> JobFilter:
    """What the search understands of the query and of the text that is looked for."""
    wanted = replace(
        query.wanted(services.now_s()), tags=chosen_tags(services.database, current_caller(), query.values("tag"))
    )
    if search.real_name:
        # An account without a name cannot be: nobody is called so.
        return replace(wanted, users=services.users.find_by_real_name(search.real_name) or ("",))
    if search.text:
        return replace(wanted, text=search.text, text_users=services.users.find_by_real_name(search.text))
    return wanted


def _find(services: Services, wanted: JobFilter, *, per: int, page: int = 1, order: str = "startTime",
          descending: bool = True) -> JobPage:  # fmt: skip
    return services.search.find(
        wanted,
        row_rule(current_caller()),
        order=order,
        descending=descending,
        page=page,
        items_per_page=per,
        now_s=services.now_s(),
        with_meta_data=False,
    )


def _hints(services: Services, pills: list[Pill], total: int) -> list[tuple[str, str]]:
    """For a list without jobs: which filter to remove, and how many jobs there are then; words and addresses."""
    if total or len(pills) < 2:  # noqa: PLR2004 - one filter alone has its own way out
        return []
    found = []
    for pill in [pill for pill in pills if pill.understood][:_MOST_HINTS]:
        rest = pill.without
        search = read_search(rest.text) if rest.text else SearchText()
        left = services.search.count(
            job_filter(services, rest, search), row_rule(current_caller()), now_s=services.now_s()
        )
        if left:
            found.append((f"{count(left, 'job')} without the filter: {pill.label} {pill.value}", pill.address))
    return found


def _to(query: ListQuery) -> Response:
    """The same list under its plain address."""
    return make_response(redirect(query.address(url_for("web.jobs")), code=303))


def private(html: str) -> Response:
    """A page for this person only, which a browser may keep as long as it asks whether it is still the same."""
    response = make_response(html)
    response.headers["Cache-Control"] = PRIVATE
    response.set_etag(page_etag(html))
    response.make_conditional(request)
    return response
