"""Labels of a time axis: run time from the start of a job, or the clock on the wall."""

from datetime import datetime, time, timedelta, tzinfo

from cc_backend.web.figures.svg import XLabel
from cc_backend.wording.format import DAY_S, HOUR_S, MINUTE_S, format_axis_duration, local_time

_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(n * MINUTE_S for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_S for n in (1, 2, 3, 4, 6, 12)),
    *(n * DAY_S for n in (1, 2, 5, 7, 14, 30, 60, 120, 365)),
)
_MAX_LABELS = 8
_LONGEST_CHANGE_S = 2 * HOUR_S
"""Maximum change of a clock by summer time."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local time without a zone


def choose_step_s(length_s: float, most: int = _MAX_LABELS) -> int:
    """The shortest round step, in seconds, that cuts the length into at most `most` parts."""
    return next((step for step in _STEPS_S if length_s / step <= most), _STEPS_S[-1])


def run_time_labels(length_s: float) -> list[XLabel]:
    """Labels in run time: `0`, `1 h`, `2 h`; positions are percent of the length."""
    if length_s <= 0:
        return []
    step = choose_step_s(length_s)
    # steps of seconds stay in seconds: 50 s, 60 s, 70 s
    text = format_axis_duration if step >= MINUTE_S else lambda t: f"{t} s" if t else "0"
    return [(100 * t / length_s, text(t)) for t in range(0, int(length_s) + 1, step)]


def clock_labels(start_s: float, length_s: float, zone: tzinfo | None) -> list[XLabel]:
    """Labels in local time, at round times: `10:00`; the day where a day begins, also if its midnight is skipped.

    Positions are percent of the length. Steps are those of the wall clock, so they stay round when it is put
    forward or back. What the clock shows twice is labelled twice, where the steps are shorter than an hour.
    """
    if length_s <= 0:
        return []
    step, end_s = choose_step_s(length_s), start_s + length_s
    first, last = (_local_s(time_s, zone) for time_s in (start_s, end_s))
    labels: dict[float, str] = {}
    for local_s in range(-(-int(first - _LONGEST_CHANGE_S) // step) * step, int(last) + _LONGEST_CHANGE_S + 1, step):
        local = _EPOCH + timedelta(seconds=local_s)
        midnight = (local.hour, local.minute) == (0, 0)
        text = f"{local.day} {local:%b}" if midnight or step >= DAY_S else f"{local:%H:%M}"
        times = [time_s for time_s in _moments_showing(local, zone, step) if start_s <= time_s <= end_s]
        for time_s in times if step < HOUR_S else times[:1]:
            labels.setdefault(time_s, text if step >= MINUTE_S else f"{local:%H:%M:%S}")
    return [(100 * (time_s - start_s) / length_s, labels[time_s]) for time_s in sorted(labels)]


def _moments_showing(local: datetime, zone: tzinfo | None, step: int) -> list[float]:
    """When the wall clock shows this: twice where it is put back, never where it is put forward.

    Of a midnight that is skipped, when its day begins.
    """
    times = sorted({local.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1)})
    shown = [time_s for time_s in times if local_time(time_s, zone).replace(tzinfo=None, fold=0) == local]
    if not shown and local.time() == time.min:
        begin_s = local.replace(tzinfo=zone).timestamp()  # the clock is put forward at this moment
        return [begin_s] if local_time(begin_s, zone).date() == local.date() else []  # unless the whole day is skipped
    return shown[:1] if step >= DAY_S else shown


def zone_offsets(start_s: float, length_s: float, zone: tzinfo | None) -> list[tuple[int, int]]:
    """UTC offsets of the zone in this span of time, as (from Unix seconds, seconds ahead of UTC)."""
    now, end = int(start_s), int(start_s + max(0.0, length_s))
    found = [(now, _offset_s(now, zone))]
    while now < end:
        then = min(now + DAY_S, end)
        if _offset_s(then, zone) != found[-1][1]:
            before, after = now, then
            while after - before > 1:
                middle = (before + after) // 2
                before, after = (before, middle) if _offset_s(middle, zone) != found[-1][1] else (middle, after)
            found.append((after, _offset_s(after, zone)))
        now = then
    return found


def _offset_s(time_s: float, zone: tzinfo | None) -> int:
    offset = local_time(time_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _local_s(time_s: float, zone: tzinfo | None) -> float:
    """Local time as seconds since 1970-01-01 local time."""
    return time_s + _offset_s(time_s, zone)
