from collections.abc import Callable
from datetime import UTC

import pytest

from cc_backend.insight.gap_findings import gap_findings, lost_seconds
from cc_backend.insight.sentences import SentenceContext, finding_text, lost_time_text
from cc_backend.metricstore.gaps.reasons import JobGaps
from cc_backend.model import DataGap, GapReason, Job, Level

START_S = 1_760_000_400  # 09:00 UTC
HOURS_S = 7200


def absence(why: GapReason, begin: int, end: int, *hosts: str, **more: object) -> DataGap:
    return DataGap(why, hosts, START_S + 60 * begin, START_S + 60 * end, **more)  # type: ignore[arg-type]  # by name


@pytest.fixture
def findings(make_job: Callable[..., Job]) -> Callable[..., list[tuple[str, str]]]:
    """Headline and detail of what is found of some absences of a job of two hours."""

    def find(*absences: DataGap, nodes: int = 16, now_s: int = START_S) -> list[tuple[str, str]]:
        job = make_job(num_nodes=nodes, duration=HOURS_S)
        found = gap_findings(job, JobGaps({}, absences, now_s))
        assert all(finding.level is Level.ARTEFACT for finding in found)
        words = [finding_text(finding, SentenceContext(running=False, now_s=now_s, zone=UTC)) for finding in found]
        return [(each.headline, each.detail) for each in words]

    return find


def test_a_silent_agent_is_told_with_its_share_of_the_job_and_the_times(
    findings: Callable[..., list[tuple[str, str]]],
) -> None:
    ((headline, detail),) = findings(absence(GapReason.HOST_SILENT, 2, 70, "n017"))
    assert headline == "The agent on n017 was silent for 68 of 120 min."
    assert detail.startswith("n017 sent nothing from 09:02 to 10:10. Means leave this time out.")


@pytest.mark.parametrize(
    ("absences", "headline"),
    [
        (
            [absence(GapReason.HOST_SILENT, 0, 20, "n017", "n018")],
            "The agents on n[017-018] were silent for 20 of 120 min.",
        ),
        (
            [absence(GapReason.HOST_SILENT, 80, 120, "n017", is_ongoing=True)],
            "The agent on n017 has been silent for the last 40 min.",
        ),
        ([absence(GapReason.HOST_SILENT, 0, 120, "n017")], "No samples of n017."),
        ([absence(GapReason.HOST_NEVER_SEEN, 0, 117, "n017", "n018")], "No samples of n[017-018]."),
        ([absence(GapReason.STORE_DOWN, 0, 16)], "The metric store was off for 16 of 120 min."),
        ([absence(GapReason.STORE_RESTORING, 0, 60)], "Samples of 60 of 120 min are not read back yet."),
        ([absence(GapReason.OLDER_THAN_RETENTION, 0, 60)], "Samples of 60 of 120 min are no longer kept."),
        (
            [absence(GapReason.STORE_UNREACHABLE, 0, 120)],
            "The store that has these samples cannot be reached just now.",
        ),
    ],
)
def test_each_cause_has_its_headline(
    findings: Callable[..., list[tuple[str, str]]], absences: list[DataGap], headline: str
) -> None:
    assert [found[0] for found in findings(*absences)] == [headline]


def test_several_stretches_of_one_node_are_one_finding(findings: Callable[..., list[tuple[str, str]]]) -> None:
    ((headline, detail),) = findings(
        absence(GapReason.HOST_SILENT, 40, 60, "n017"), absence(GapReason.HOST_SILENT, 0, 10, "n017")
    )
    assert headline == "The agent on n017 was silent for 30 of 120 min."
    assert detail.index("from 09:00 to 09:10") < detail.index("from 09:40 to 10:00")


def test_when_all_nodes_are_silent_they_need_no_names(findings: Callable[..., list[tuple[str, str]]]) -> None:
    ((headline, _),) = findings(absence(GapReason.HOST_SILENT, 40, 56, "n1", "n2"), nodes=2)
    assert headline == "The agents on all 2 nodes were silent for 16 of 120 min."


def test_many_different_silences_end_in_one_line(findings: Callable[..., list[tuple[str, str]]]) -> None:
    found = findings(*(absence(GapReason.HOST_SILENT, 0, 60 - at, f"n{at:02d}") for at in range(12)))
    assert len(found) == 4
    assert found[-1][0] == "The agents on 9 more nodes were silent for some time."
    assert found[-1][1].startswith("n[03-11].")


@pytest.mark.parametrize(
    ("lost_s", "length_s", "text"),
    [
        (4080, 7200, "68 of 120 min"),
        (7200, 7200, "2 h 00 min"),
        (30, 7200, "30 s of 2 h 00 min"),
        (11100, 93600, "3 h 05 min of 26 h 00 min"),
    ],
)
def test_a_share_of_a_job(lost_s: float, length_s: float, text: str) -> None:
    assert lost_time_text(lost_s, length_s) == text


@pytest.mark.parametrize(
    ("why", "headline"),
    [
        (GapReason.OLDER_THAN_RETENTION, "The samples of this job are no longer kept."),
        (GapReason.STORE_RESTORING, "The samples of this job are not read back yet."),
        (GapReason.STORE_DOWN, "The metric store was off for the whole job."),
    ],
)
@pytest.mark.parametrize("minutes", [119, 120, 180])
def test_a_job_that_lost_all_its_samples_is_told_so_without_a_share(
    findings: Callable[..., list[tuple[str, str]]], why: GapReason, headline: str, minutes: int
) -> None:
    assert findings(absence(why, 0, minutes))[0][0] == headline


def test_what_was_not_today_is_told_with_its_day(findings: Callable[..., list[tuple[str, str]]]) -> None:
    later_s = START_S + 30 * 86400
    ((_, detail),) = findings(absence(GapReason.OLDER_THAN_RETENTION, 0, 120), now_s=later_s)
    assert detail == "Samples from before 11:00 on 9 October are no longer kept."
    ((_, detail),) = findings(absence(GapReason.HOST_SILENT, 2, 70, "n017"), now_s=later_s)
    assert detail.startswith("n017 sent nothing from 09:02 to 10:10 on 9 October.")


@pytest.mark.parametrize(
    ("stretches", "seconds"),
    [
        ([(0, 60), (30, 90)], 5400),
        ([(0, 60), (0, 60)], 3600),
        ([(0, 100), (10, 20)], 6000),
        ([(0, 90), (60, 200)], 7200),
    ],
)
def test_overlapping_stretches_count_once_and_never_more_than_the_job(
    stretches: list[tuple[int, int]], seconds: int
) -> None:
    group = [absence(GapReason.HOST_SILENT, begin, end, "n1") for begin, end in stretches]
    assert lost_seconds(group, HOURS_S) == seconds


def test_a_node_that_is_named_is_not_counted_again_among_the_rest(
    findings: Callable[..., list[tuple[str, str]]],
) -> None:
    stretches = [absence(GapReason.HOST_SILENT, 10 * at, 10 * at + 5, "n1", f"n{at}") for at in range(2, 8)]
    assert findings(*stretches)[-1][0] == "The agents on 3 more nodes were silent for some time."
