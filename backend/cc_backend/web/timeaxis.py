"""Labels of a time axis: run time from the start of a job, or the clock on the wall."""

from datetime import tzinfo

from cc_backend.web.figures.draw import XLabel
from cc_backend.wording.format import DAY_S, HOUR_S, MINUTE_S, at, round_span

_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(n * MINUTE_S for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_S for n in (1, 2, 3, 4, 6, 12)),
    *(n * DAY_S for n in (1, 2, 5, 7, 14, 30, 60, 120, 365)),
)
_MOST = 8


def step_of(length_s: float, most: int = _MOST) -> int:
    """The round step that cuts the length into at most so many parts."""
    return next((step for step in _STEPS_S if length_s / step <= most), _STEPS_S[-1])


def run_time_labels(length_s: float) -> list[XLabel]:
    """Labels in run time: `0`, `1 h`, `2 h`."""
    if length_s <= 0:
        return []
    step = step_of(length_s)
    # steps of seconds stay in seconds: 50 s, 60 s, 70 s
    text = round_span if step >= MINUTE_S else lambda t: f"{t} s" if t else "0"
    return [(100 * t / length_s, text(t)) for t in range(0, int(length_s) + 1, step)]


def clock_labels(start_s: float, length_s: float, zone: tzinfo | None) -> list[XLabel]:
    """Labels on the clock, at round local times: `10:00`; the day where a day begins."""
    if length_s <= 0:
        return []
    step = step_of(length_s)
    offset = at(start_s, zone).utcoffset()
    shift = int(offset.total_seconds()) if offset else 0
    first = -(-(int(start_s) + shift) // step) * step - shift
    labels = []
    for t in range(first, int(start_s + length_s) + 1, step):
        then = at(t, zone)
        midnight = (then.hour, then.minute) == (0, 0)
        text = f"{then.day} {then:%b}" if midnight or step >= DAY_S else f"{then:%H:%M}"
        labels.append((100 * (t - start_s) / length_s, text if step >= MINUTE_S else f"{then:%H:%M:%S}"))
    return labels
