"""The clock of live plots through summer time: the browser finds the same round times as the server."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cc_backend.web.time_axis import choose_step_s, clock_labels, zone_offsets

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
IMPORT = """const page = document.querySelector("script[src*='/js/page.js']").src;
const words = await import(page.replace("page.js", "words.js"));"""
LABELS = f"""async ([offsets, start, end, step]) => {{ {IMPORT}
  return words.clockSplits(offsets, start, end, step).map(
    (time) => [time, words.axisLabel(time, offsets, step)]);
}}"""
MOMENT = f"async ([time, offsets, now]) => {{ {IMPORT} return words.momentLabel(time, offsets, now); }}"


@pytest.mark.parametrize("hours", [1, 5, 24, 48, 72])
@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "UTC"]
)
def test_labels_stand_where_the_server_puts_them(visit: Visit, zone: str, hours: int) -> None:
    page = visit().go("/")
    where = ZoneInfo(zone)
    days = ("2026-10-24T21:07", "2026-10-25T02:50", "2026-03-28T22:00", "2026-11-01T00:00", "2026-11-01T01:40",
            "2026-04-04T20:00", "2026-04-05T01:50", "2026-09-05T21:10")  # fmt: skip
    for day in days:
        start_s, length_s = int(datetime.fromisoformat(day).replace(tzinfo=where).timestamp()), hours * 3600
        wanted = [
            [start_s + round(per_cent * length_s / 100), text]
            for per_cent, text in clock_labels(start_s, length_s, where)
        ]
        offsets = zone_offsets(start_s, length_s, where)
        assert page.evaluate(LABELS, [offsets, start_s, start_s + length_s, choose_step_s(length_s)]) == wanted


def test_a_moment_is_told_with_its_day_unless_it_is_today(visit: Visit) -> None:
    page = visit().go("/")
    berlin = ZoneInfo("Europe/Berlin")
    night = datetime(2026, 10, 25, 1, 30, tzinfo=berlin)
    offsets = zone_offsets(night.timestamp(), 86400, berlin)
    later_s = night.timestamp() + 2 * 3600
    assert page.evaluate(MOMENT, [later_s, offsets, later_s]) == "02:30"  # the second half past two
    assert page.evaluate(MOMENT, [later_s + 3600, offsets, later_s]) == "03:30"
    tomorrow_s = (night + timedelta(days=1)).timestamp()
    assert page.evaluate(MOMENT, [later_s, offsets, tomorrow_s]) == "25 Oct 02:30"
