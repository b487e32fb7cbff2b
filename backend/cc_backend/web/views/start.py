"""The start page: what matters now, in a sentence, and the jobs behind it."""

from dataclasses import replace

from flask import Response, render_template

from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.http.guard import current_caller
from cc_backend.insight.rating import BAD_LEVELS
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import JobState
from cc_backend.services import current_services
from cc_backend.web.views.job_list_view import private_response
from cc_backend.web.views.list_rows import build_list_rows
from cc_backend.web.views.nodes import build_nodes_section
from cc_backend.wording.format import DAY_S, count_noun, format_number

_MOST_RUNNING, _MOST_RECENT = 10, 15
_RUNNING = JobFilter(states=(JobState.RUNNING,))


@requires(Permission.PAGE)
def show_start() -> Response:
    """Running jobs with their curves, the worst of all first, then those that ended lately."""
    services, caller = current_services(), current_caller()
    rule, now_s = row_rule_for(caller), services.now_s()
    search = services.job_queries
    running = search.find(_RUNNING, rule, now_s=now_s, order="verdict", descending=False, items_per_page=_MOST_RUNNING)
    bad = search.count(replace(_RUNNING, verdicts=tuple(BAD_LEVELS)), rule, now_s=now_s)
    recent = search.find(
        JobFilter(ended_from_s=now_s - 7 * DAY_S), rule, now_s=now_s, order="stopTime", items_per_page=_MOST_RECENT
    )
    rows, heads = build_list_rows(services, running.jobs, caller=caller, plots=True)
    ended, _ = build_list_rows(services, recent.jobs, caller=caller, plots=False)
    html = render_template(
        "start.html",
        sentence=summary_sentence(running.total, bad),
        running=rows,
        heads=heads,
        running_note=list_note(running.total, len(rows), "worst"),
        recent=ended,
        recent_note=list_note(recent.total, len(ended), "newest"),
        nodes=build_nodes_section(services, caller),
    )
    return private_response(html)


def summary_sentence(total: int, bad: int) -> str:
    """The summary of running jobs, such as `3 jobs run, 1 needs your attention.`."""
    if not total:
        return "No job runs."
    run = f"{count_noun(total, 'job')} {'runs' if total == 1 else 'run'}"
    if not bad:
        return f"{run}."
    if total == 1:
        return "1 job runs and needs your attention."
    return f"{run}, {format_number(bad)} {'needs' if bad == 1 else 'need'} your attention."


def list_note(total: int, shown: int, first: str) -> str:
    """How much of a list is shown, and what comes first in it."""
    if total > shown:
        return f"the {first} {shown} of {format_number(total)}"
    return ", ".join(filter(None, [count_noun(total, "job") if total else "", f"{first} first" if total > 1 else ""]))
