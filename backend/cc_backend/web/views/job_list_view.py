"""The job list: everything it shows is in its address."""

from dataclasses import replace

from flask import Response, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.http.downloads import FORMAT, requested_format
from cc_backend.http.guard import current_caller, page_etag
from cc_backend.http.job_downloads import send_job_list
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_queries import JobListPage
from cc_backend.jobs.tag_filters import with_tags
from cc_backend.services import Services, current_services
from cc_backend.web.list_address import ListAddress, is_canonical, parse_list_address
from cc_backend.web.search_text import ParsedSearch, parse_search
from cc_backend.web.views.list_controls import build_controls
from cc_backend.web.views.list_pills import Pill, build_pills
from cc_backend.web.views.list_rows import build_list_rows
from cc_backend.wording.format import count_noun

PRIVATE_CACHE = "private, no-cache"
_MOST_HINTS = 4


@requires(Permission.PAGE)
def show_jobs() -> Response:
    """The list page; a search that is the number of exactly one job leads straight to it."""
    services = current_services()
    query = parse_list_address(request.args)
    if not is_canonical(request.args):
        return _redirect_to(query)
    search = parse_search(query.text) if query.text else ParsedSearch()
    if search.filter:
        return _redirect_to(
            query.without_filters_named(search.filter[0]).with_changes(text="", filters=(*query.filters, search.filter))
        )
    if search.job_number is not None and len(request.args) == 1:
        same = _find_jobs(services, JobFilter(job_id=search.job_number), per=2)
        if same.total == 1:
            return make_response(redirect(url_for("web.job", job_id=same.jobs[0].id), code=303))
    key, descending = query.order
    wanted = job_filter(services, query, search)
    page = _find_jobs(services, wanted, order=key, descending=descending, page=query.page, per=query.per)
    rows, heads = build_list_rows(services, page.jobs, caller=current_caller(), plots=query.view == "plots")
    pills = build_pills(query)
    html = render_template(
        "jobs.html",
        query=query,
        rows=rows,
        heads=heads,
        pills=pills,
        hints=_hints(services, pills, page.total),
        count_words=count_noun(page.total, "job"),
        **build_controls(query, page.total, len(rows)),
    )
    return private_response(html)


@requires(Permission.PAGE)
def export_jobs() -> Response:
    """All jobs of a list, on whichever page, as a file."""
    services = current_services()
    form = requested_format(request.args)
    query = parse_list_address(MultiDict(entry for entry in request.args.items(multi=True) if entry[0] != FORMAT))
    search = parse_search(query.text) if query.text else ParsedSearch()
    if search.filter:
        query = query.without_filters_named(search.filter[0]).with_changes(filters=(*query.filters, search.filter))
        search = ParsedSearch()
    key, descending = query.order
    response = send_job_list(job_filter(services, query, search), form, order=key, descending=descending)
    response.headers["Cache-Control"] = PRIVATE_CACHE
    return response


def job_filter(services: Services, query: ListAddress, search: ParsedSearch) -> JobFilter:
    """The filter for the job queries, of the query and the search text."""
    wanted = with_tags(
        query.to_filter(services.now_s()),
        services.database,
        current_caller(),
        tags=query.values("tag"),
        no_tags=query.values("noTag"),
        has_all=query.value("tagMatch") == "all",
    )
    if search.real_name:
        # no account has an empty name: this finds no job
        return replace(wanted, users=services.users.find_by_real_name(search.real_name) or ("",))
    if search.text:
        return replace(wanted, text=search.text, text_users=services.users.find_by_real_name(search.text))
    return wanted


def _find_jobs(services: Services, wanted: JobFilter, *, per: int, page: int = 1, order: str = "startTime",
          descending: bool = True) -> JobListPage:  # fmt: skip
    return services.job_queries.find(
        wanted,
        row_rule_for(current_caller()),
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
        search = parse_search(rest.text) if rest.text else ParsedSearch()
        left = services.job_queries.count(
            job_filter(services, rest, search), row_rule_for(current_caller()), now_s=services.now_s()
        )
        if left:
            found.append((f"{count_noun(left, 'job')} without the filter: {pill.label} {pill.value}", pill.address))
    return found


def _redirect_to(query: ListAddress) -> Response:
    """A redirect to the canonical address of the list."""
    return make_response(redirect(query.to_address(url_for("web.jobs")), code=303))


def private_response(html: str) -> Response:
    """A response for one user only, which a browser may cache but must revalidate."""
    response = make_response(html)
    response.headers["Cache-Control"] = PRIVATE_CACHE
    response.set_etag(page_etag(html))
    response.make_conditional(request)
    return response
