"""The start page: what matters now, in a sentence, and the jobs behind it."""

from dataclasses import replace

from flask import Response, render_template

from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.row_rules import row_rule
from cc_backend.http.guard import current_caller
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import JobState, Level
from cc_backend.services import current
from cc_backend.web.views.job_list_view import private
from cc_backend.web.views.list_rows import list_rows
from cc_backend.web.views.nodes import nodes_part
from cc_backend.wording.format import DAY_S, count, number

_MOST_RUNNING, _MOST_RECENT = 10, 15
_NEEDS_ATTENTION = (Level.ALERT, Level.CAUTION)
_RUNNING = JobFilter(states=(JobState.RUNNING,))


@requires(Permission.PAGE)
def start() -> Response:
    """Running jobs with their curves, the worst of all first, then those that ended lately."""
    services, caller = current(), current_caller()
    rule, now_s = row_rule(caller), services.now_s()
    search = services.search
    running = search.find(_RUNNING, rule, now_s=now_s, order="verdict", descending=False, items_per_page=_MOST_RUNNING)
    bad = search.count(replace(_RUNNING, verdicts=_NEEDS_ATTENTION), rule, now_s=now_s)
    recent = search.find(
        JobFilter(ended_from_s=now_s - 7 * DAY_S), rule, now_s=now_s, order="stopTime", items_per_page=_MOST_RECENT
    )
    rows, heads = list_rows(services, running.jobs, caller=caller, plots=True)
    ended, _ = list_rows(services, recent.jobs, caller=caller, plots=False)
    html = render_template(
        "start.html",
        sentence=sentence(running.total, bad),
        running=rows,
        heads=heads,
        running_note=note(running.total, len(rows), "worst"),
        recent=ended,
        recent_note=note(recent.total, len(ended), "newest"),
        nodes=nodes_part(services, caller),
    )
    return private(html)


def sentence(total: int, bad: int) -> str:
    """What matters now, such as `3 jobs run, 1 needs your attention.`."""
    if not total:
        return "No job runs."
    run = f"{count(total, 'job')} {'runs' if total == 1 else 'run'}"
    if not bad:
        return f"{run}."
    if total == 1:
        return "1 job runs and needs your attention."
    return f"{run}, {number(bad)} {'needs' if bad == 1 else 'need'} your attention."


def note(total: int, shown: int, first: str) -> str:
    """How much of a list is shown, and what comes first in it."""
    if total > shown:
        return f"the {first} {shown} of {number(total)}"
    return ", ".join(filter(None, [count(total, "job") if total else "", f"{first} first" if total > 1 else ""]))
