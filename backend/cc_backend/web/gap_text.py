"""What is missing of a job in words: below a plot that has gaps, and for metrics without a plot. Pure."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from cc_backend.metricstore.gaps.reason_text import gap_sentences
from cc_backend.metricstore.gaps.reasons import JobGaps
from cc_backend.model import DataGap
from cc_backend.wording.labels import lower_first, metric_name

MAX_FINDINGS = 3
MAX_REASONS = 2  # below a plot


def plot_reasons(gaps: JobGaps, metric: str, *, has_gaps: bool, zone: tzinfo | None) -> tuple[str, ...]:
    """What stands below a plot: what is so for this metric alone; or, with gaps in the plot, what made them."""
    found = gaps.metrics.get(metric, ())
    told = _metric_only(found) or (found if has_gaps else ())
    return tuple(
        gap_sentences(told, lower_first(metric_name(metric)), zone=zone, now_s=gaps.now_s, max_sentences=MAX_REASONS)
    )


def _metric_only(found: Sequence[DataGap]) -> tuple[DataGap, ...]:
    """Without what is so for whole nodes or the store, which the findings tell."""
    return tuple(one for one in found if not (one.reason.is_host_wide or one.reason.is_store_wide))


def missing_reasons(gaps: JobGaps, metrics: Iterable[str], *, zone: tzinfo | None) -> tuple[tuple[str, str], ...]:
    """Names of metrics that were not measured, with the reason they share; an empty reason where there is none."""
    groups: dict[tuple[DataGap, ...], list[str]] = {}
    for metric in metrics:
        found = gaps.metrics.get(metric, ())
        groups.setdefault(_metric_only(found) or tuple(found), []).append(metric)
    return tuple(
        (
            ", ".join(metric_name(name) for name in names),
            " ".join(gap_sentences(found, _subject(names), zone=zone, now_s=gaps.now_s, max_sentences=MAX_REASONS)),
        )
        for found, names in groups.items()
    )


def _subject(names: Sequence[str]) -> str:
    return lower_first(metric_name(names[0])) if len(names) == 1 else "these"


def common_missing_reason(gaps: JobGaps, metrics: Sequence[str], *, zone: tzinfo | None) -> str:
    """One sentence for metrics that were not measured, empty where they have no reason in common."""
    reasons = {reason for _, reason in missing_reasons(gaps, metrics, zone=zone)}
    return reasons.pop() if len(reasons) == 1 else ""
