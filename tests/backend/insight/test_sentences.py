"""Findings in words: with their numbers, what they cost, and what to try."""

from datetime import UTC

import pytest

from cc_backend.insight.findings import FindingCode
from cc_backend.insight.sentences import SentenceContext, finding_text, share_text
from cc_backend.model import Finding, Level

ENDED = SentenceContext(running=False, now_s=1_760_000_400, zone=UTC)
RUNS = SentenceContext(running=True, now_s=1_760_000_400, zone=UTC)


def level(metric: str, at: Level, kind: str, value: float, **more: object) -> Finding:
    hours = {name: more.pop(name) for name in ("core_hours", "gpu_hours", "hosts") if name in more}
    facts = {"kind": kind, "value": value, "unit": "", "edge": 60.0, "peak": 96.0, "statistic": "avg", "share": 0.0}
    return Finding(FindingCode.METRIC_LEVEL, at, metric, facts={**facts, **more}, **hours)  # type: ignore[arg-type]  # by name


FLOPS = {"unit": "GFlop/s", "peak": 6144.0}
MEMORY = {"unit": "GB", "peak": 384.0, "statistic": "max"}


@pytest.mark.parametrize(
    ("finding", "headline", "part"),
    [
        (
            level("flops_any", Level.CAUTION, "low", 276.0, edge=300.0, **FLOPS),
            "Flop rate is low: 276 of 6\u202f144 GFlop/s.",
            "On this node type more than 300 GFlop/s is usual.",
        ),
        (
            level("flops_any", Level.ALERT, "low", 20.0, edge=300.0, **FLOPS),
            "Flop rate is very low: 20.0 of 6\u202f144 GFlop/s.",
            "Per node in the mean.",
        ),
        (
            level("flops_any", Level.HIGH, "above", 3000.0, edge=2400.0, **FLOPS),
            "Flop rate is above what is usual here.",
            "2\u202f400 GFlop/s is usual at most",
        ),
        (
            level("flops_any", Level.ARTEFACT, "impossible", 9000.0, edge=6144.0, **FLOPS),
            "Flop rate cannot be right.",
            "6\u202f144 GFlop/s. Better not rely",
        ),
        (
            level("cpu_load", Level.CAUTION, "overload", 30.0, edge=8.0, peak=8.0),
            "CPU load is higher than this node can serve.",
            "8 can run at a time",
        ),
        (
            level("mem_used", Level.CAUTION, "high", 341.0, edge=300.0, hosts=("tn0112",), **MEMORY),
            "Memory reached 341 of 384 GB on tn0112.",
            "300 GB is the limit of what is healthy here. A larger system may not fit.",
        ),
        (
            level("cpu_load", Level.CAUTION, "low", 58.0, core_hours=10.0, share=0.4),
            "CPU load was 58.0 of 96: about 40 % of the cores waited.",
            "That cost 10.0 core hours, 40 % of the job.",
        ),
        (
            level("cpu_load", Level.ALERT, "low", 0.32, core_hours=10.0, share=0.99),
            "CPU load was 0.32 of 96: hardly any core worked.",
            "That cost 10.0 core hours, all of the job.",
        ),
        (
            level("acc_utilization", Level.ALERT, "low", 9.0, peak=100.0, unit="%", gpus=8, gpu_hours=33.0),
            "8 GPUs were used 9 % of the time: 33.0 GPU hours did nothing.",
            "On this node type more than 60 % is usual. Check whether the program uses all GPUs",
        ),
    ],
)
def test_a_value_that_is_not_as_it_should_be_is_told_with_its_numbers(
    finding: Finding, headline: str, part: str
) -> None:
    words = finding_text(finding, ENDED)
    assert words.headline == headline
    assert part in words.detail
    assert words.metric == finding.metric


def test_of_a_running_job_it_is_told_as_of_now() -> None:
    gpus = level("acc_utilization", Level.ALERT, "low", 9.0, peak=100.0, unit="%", gpus=1, gpu_hours=33.0)
    assert finding_text(gpus, RUNS).headline == "1 GPU is used 9 % of the time: 33.0 GPU hours did nothing so far."
    load = level("cpu_load", Level.CAUTION, "low", 64.0, core_hours=10.0)
    assert finding_text(load, RUNS).headline == "CPU load is 64.0 of 96: about a third of the cores wait."


def test_a_cost_of_next_to_nothing_is_not_told() -> None:
    load = level("cpu_load", Level.CAUTION, "low", 58.0, core_hours=0.01)
    assert "core hours" not in finding_text(load, ENDED).detail


@pytest.mark.parametrize(
    ("share", "words"),
    [(1.0, "all"), (0.74, "three quarters"), (0.25, "a quarter"), (0.17, "17 %"), (0.1, "a tenth"), (0.001, "")],
)
def test_a_share_of_the_job_in_words(share: float, words: str) -> None:
    assert share_text(share) == words


def test_several_metrics_that_are_missing_are_listed() -> None:
    finding = Finding(FindingCode.NOT_MEASURED, Level.ARTEFACT, facts={"metrics": ["flops_any", "mem_bw"]})
    context = SentenceContext(running=False, now_s=0, missing_reason="n1 sent other metrics, but never these.")
    words = finding_text(finding, context)
    assert words.headline == "Flop rate and memory bandwidth were not measured."
    assert words.detail == "n1 sent other metrics, but never these. The verdict leaves this out."


def test_what_is_in_order_and_what_is_not_judged_are_told_apart() -> None:
    finding = Finding(FindingCode.NOTHING_FOUND, Level.OK, facts={"metrics": ["mem_used"], "unjudged": ["cpu_load"]})
    assert finding_text(finding, ENDED).headline == "1 check passed: memory. Not judged on this node type: load."
