from datetime import UTC, datetime

import pytest

from cc_backend.metricstore.gaps.reason_text import gap_sentence, gap_sentences, host_text
from cc_backend.model import DataGap, GapReason

MORNING_S = int(datetime(2026, 3, 12, 14, 2, tzinfo=UTC).timestamp())
HOUR_S = 3600


def said(why: GapReason, *hosts: str, seconds: int = HOUR_S + 480, **more: object) -> str:
    absence = DataGap(why, hosts, MORNING_S, MORNING_S + seconds, **more)  # type: ignore[arg-type]  # by name
    return gap_sentence(absence, "flops_any", zone=UTC, now_s=MORNING_S)


@pytest.mark.parametrize(
    ("now_s", "text"),
    [
        (MORNING_S + 3 * HOUR_S, "n017 sent nothing from 14:02 to 15:10."),
        (MORNING_S + 30 * HOUR_S, "n017 sent nothing from 14:02 to 15:10 on 12 March."),
        (MORNING_S + 400 * 24 * HOUR_S, "n017 sent nothing from 14:02 to 15:10 on 12 March 2026."),
        (None, "n017 sent nothing from 14:02 to 15:10 on 12 March 2026."),
    ],
)
def test_a_day_is_named_unless_it_is_today(now_s: int | None, text: str) -> None:
    absence = DataGap(GapReason.HOST_SILENT, ("n017",), MORNING_S, MORNING_S + HOUR_S + 480)
    assert gap_sentence(absence, "flops_any", zone=UTC, now_s=now_s) == text


def test_older_samples_than_are_kept_are_told_with_their_day() -> None:
    absence = DataGap(GapReason.OLDER_THAN_RETENTION, (), MORNING_S, MORNING_S + HOUR_S)
    text = gap_sentence(absence, "flops_any", zone=UTC, now_s=MORNING_S + 5 * 86400)
    assert text == "Samples from before 15:02 on 12 March are no longer kept."


def test_a_silent_host_is_named_with_its_times() -> None:
    assert said(GapReason.HOST_SILENT, "n017") == "n017 sent nothing from 14:02 to 15:10."


def test_many_hosts_are_one_list() -> None:
    assert said(GapReason.HOST_NEVER_SEEN, "n017", "n018", "n019", "n020") == "n[017-020] never sent anything."


def test_another_day_is_named() -> None:
    assert said(GapReason.HOST_SILENT, "n017", seconds=86400) == "n017 sent nothing from 14:02 to 14:02 on 13 March."


def test_silence_that_lasts_has_no_end() -> None:
    assert (
        said(GapReason.METRIC_SILENT_ON_HOST, "n017", is_ongoing=True)
        == "n017 sent other metrics, but no flops_any since 14:02."
    )


def test_the_last_sample_before_is_told() -> None:
    text = said(GapReason.HOST_SILENT, "n017", last_sample_s=MORNING_S - 86400)
    assert text == "n017 sent nothing from 14:02 to 15:10; its last sample is of 14:02 on 11 March."


@pytest.mark.parametrize("why", list(GapReason))
@pytest.mark.parametrize("hosts", [(), ("n017",)])
def test_every_reason_is_a_whole_sentence(why: GapReason, hosts: tuple[str, ...]) -> None:
    text = said(why, *hosts)
    assert text.endswith(".")
    assert text[0].isupper() or (hosts and text.startswith("n017 "))
    assert not set("{}[]") & set(text)
    assert "  " not in text


def test_no_two_reasons_read_the_same() -> None:
    assert len({said(why) for why in GapReason}) == len(GapReason)


def test_a_list_that_does_not_fold_is_counted() -> None:
    names = [f"{letter}{number}x{number * 7}" for letter in "pq" for number in range(40)]
    assert host_text(names) == "80 nodes (p0x0 and others)"
    assert host_text([]) == ""


def test_only_the_first_few_are_told_and_the_rest_counted() -> None:
    absences = [DataGap(GapReason.HOST_NEVER_SEEN, (f"n{number}",)) for number in range(7)]
    told = gap_sentences(absences, "load", zone=UTC, max_sentences=3)
    assert (told[0], told[-1], len(told)) == ("n0 never sent anything.", "And 4 more such stretches.", 4)
    assert gap_sentences(absences[:4], "load", zone=UTC, max_sentences=3)[-1] == "And 1 more such stretch."
    assert len(gap_sentences(absences[:3], "load", zone=UTC, max_sentences=3)) == 3


def test_nothing_is_said_twice() -> None:
    stretches = [DataGap(GapReason.METRIC_NEVER_SEEN_ON_HOST, ("n1",), begin, begin + 60) for begin in (0, 600)]
    assert gap_sentences(stretches, "load", zone=UTC) == ["n1 sent other metrics, but never load."]
