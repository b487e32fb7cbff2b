"""The start page: what matters now, in a sentence, and the jobs behind it."""

from flask import Response, render_template

from cc_backend.auth.guard import current_caller
from cc_backend.auth.permissions import Permission, requires
from cc_backend.auth.rows import row_rule
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import NON_TERMINAL_STATES, JobState, Level
from cc_backend.services import current
from cc_backend.web.joblist import ListRow
from cc_backend.web.views.jobs import private
from cc_backend.web.views.nodes import nodes_part
from cc_backend.web.views.rows import list_rows
from cc_backend.wording.format import DAY_S, count, number

_MOST_RUNNING, _MOST_RECENT = 10, 15
_ENDED = tuple(state for state in JobState if state not in NON_TERMINAL_STATES)


@requires(Permission.PAGE)
def start() -> Response:
    """Running jobs with their curves, then those that ended lately."""
    services, caller = current(), current_caller()
    rule, now_s = row_rule(caller), services.now_s()
    find = services.search.find
    running = find(JobFilter(states=(JobState.RUNNING,)), rule, page=1, items_per_page=_MOST_RUNNING, now_s=now_s)
    recent = find(
        JobFilter(states=_ENDED, started_from_s=now_s - 7 * DAY_S),
        rule,
        page=1,
        items_per_page=_MOST_RECENT,
        now_s=now_s,
    )
    rows, heads = list_rows(services, running.jobs, caller=caller, plots=True)
    rows.sort(key=lambda row: (row.level or Level.OK).order)
    ended, _ = list_rows(services, recent.jobs, caller=caller, plots=False)
    html = render_template(
        "start.html",
        sentence=sentence(running.total, rows),
        running=rows,
        heads=heads,
        running_note=note(running.total, len(rows), "worst first"),
        recent=ended,
        recent_note=note(recent.total, len(ended), ""),
        nodes=nodes_part(services, caller),
    )
    return private(html)


def sentence(total: int, rows: list[ListRow]) -> str:
    """What matters now, such as `3 jobs run, 1 needs your attention.`."""
    if not total:
        return "No job runs."
    bad = sum(row.level in (Level.ALERT, Level.CAUTION) for row in rows)
    run = f"{count(total, 'job')} {'runs' if total == 1 else 'run'}"
    if not bad:
        return f"{run}."
    among = "" if total == len(rows) else f" of the newest {len(rows)}"
    if total == 1:
        return "1 job runs and needs your attention."
    return f"{run}, {number(bad)}{among} {'needs' if bad == 1 else 'need'} your attention."


def note(total: int, shown: int, order: str) -> str:
    """How much of a list is shown, and in which order."""
    if total > shown:
        return f"the newest {shown} of {number(total)}" + (f", {order}" if order else "")
    return ", ".join(filter(None, [count(total, "job") if total else "", order if total > 1 else ""]))
