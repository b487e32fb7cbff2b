"""The checks of a job as an annunciator shows them: one for each footprint value, then balance and data. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from cc_backend.insight.assessment import Assessment
from cc_backend.insight.findings import FindingCode
from cc_backend.insight.rating import worst_level
from cc_backend.model import Level
from cc_backend.wording.labels import metric_short_name

BALANCE_CODES = frozenset({FindingCode.IDLE_NODES, FindingCode.IDLE_GPUS, FindingCode.NODES_DIFFER})
"""Findings about nodes and GPUs that differ from the others."""
DATA_CODES = frozenset({FindingCode.SAMPLES_ABSENT, FindingCode.NOT_MEASURED})
"""Findings about samples that are missing."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its short name, its level (None if it is not judged), and the level in words."""

    word: str
    level: Level | None
    said: str


def job_checks(assessment: Assessment, *, measured: bool) -> list[Check]:
    """All checks of a job, in the order of its footprint; `measured` says whether there are samples at all.

    A metric whose job stalled has the level of the stall: the mean of a job that hangs says less than that it hangs.
    """
    stalled = {finding.metric: finding.level for finding in assessment.findings if finding.code == FindingCode.STALLED}
    checks = []
    for value in assessment.footprint:
        level = stalled.get(value.metric, value.level)
        unjudged = "not measured" if value.value is None else "not judged"
        checks.append(Check(metric_short_name(value.metric), level, level.word if level else unjudged))
    if measured:
        too_short = any(finding.code == FindingCode.TOO_SHORT for finding in assessment.findings)
        balance = _worst_of(assessment, BALANCE_CODES)
        checks.append(Check("Balance", None, "not judged") if too_short else Check("Balance", balance, balance.word))
    data = _worst_of(assessment, DATA_CODES) if measured else Level.ARTEFACT
    return [*checks, Check("Data", data, data.word)]


def _worst_of(assessment: Assessment, codes: Collection[FindingCode]) -> Level:
    return worst_level([finding.level for finding in assessment.findings if finding.code in codes])
