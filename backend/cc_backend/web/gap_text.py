"""What is missing of a job in words: below a plot that has gaps, and for metrics without a plot. Pure."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from cc_backend.metricstore.gaps.reason_text import sentences
from cc_backend.metricstore.gaps.reasons import JobAbsences
from cc_backend.model import Absence
from cc_backend.wording.labels import lower, metric_name

MOST_FINDINGS = 3
MOST_REASONS = 2  # below a plot


def plot_reasons(absences: JobAbsences, metric: str, *, gaps: bool, zone: tzinfo | None) -> tuple[str, ...]:
    """What stands below a plot: what is so for this metric alone; or, with gaps in the plot, what made them."""
    found = absences.metrics.get(metric, ())
    told = _of_metric(found) or (found if gaps else ())
    return tuple(sentences(told, lower(metric_name(metric)), zone=zone, now_s=absences.now_s, most=MOST_REASONS))


def _of_metric(found: Sequence[Absence]) -> tuple[Absence, ...]:
    """Without what is so for whole nodes or the store, which the findings tell."""
    return tuple(one for one in found if not (one.why.of_host or one.why.of_store))


def missing_reasons(
    absences: JobAbsences, metrics: Iterable[str], *, zone: tzinfo | None
) -> tuple[tuple[str, str], ...]:
    """Names of metrics that were not measured, with the reason they share; an empty reason where there is none."""
    groups: dict[tuple[Absence, ...], list[str]] = {}
    for metric in metrics:
        found = absences.metrics.get(metric, ())
        groups.setdefault(_of_metric(found) or tuple(found), []).append(metric)
    return tuple(
        (
            ", ".join(metric_name(name) for name in names),
            " ".join(sentences(found, _words(names), zone=zone, now_s=absences.now_s, most=MOST_REASONS)),
        )
        for found, names in groups.items()
    )


def _words(names: Sequence[str]) -> str:
    return lower(metric_name(names[0])) if len(names) == 1 else "these"


def why_missing(absences: JobAbsences, metrics: Sequence[str], *, zone: tzinfo | None) -> str:
    """One sentence for metrics that were not measured, empty where they have no reason in common."""
    reasons = {reason for _, reason in missing_reasons(absences, metrics, zone=zone)}
    return reasons.pop() if len(reasons) == 1 else ""
