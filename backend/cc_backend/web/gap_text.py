"""The gaps of a job in words: below a plot that has gaps, and for metrics without a plot. Pure."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from cc_backend.metricstore import JobGaps, gap_sentences
from cc_backend.model import DataGap
from cc_backend.wording.labels import lower_first, metric_name

MAX_FINDINGS = 3
MAX_REASONS = 2  # below a plot


def plot_reasons(gaps: JobGaps, metric: str, *, has_gaps: bool, zone: tzinfo | None) -> tuple[str, ...]:
    """The lines below a plot: gaps of this metric alone; without those, if the plot has gaps, the shared ones."""
    found = gaps.metrics.get(metric, ())
    shown = _metric_only(found) or (found if has_gaps else ())
    return tuple(
        gap_sentences(shown, lower_first(metric_name(metric)), zone=zone, now_s=gaps.now_s, max_sentences=MAX_REASONS)
    )


def _metric_only(found: Sequence[DataGap]) -> tuple[DataGap, ...]:
    """The gaps without those of whole nodes or of the store, which the findings report."""
    return tuple(gap for gap in found if not (gap.reason.is_host_wide or gap.reason.is_store_wide))


def missing_reasons(gaps: JobGaps, metrics: Iterable[str], *, zone: tzinfo | None) -> tuple[tuple[str, str], ...]:
    """Groups of metrics that were not measured: their names and their common reason, empty if unknown."""
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
    """The common reason of metrics that were not measured, in one sentence; empty if they have several."""
    reasons = {reason for _, reason in missing_reasons(gaps, metrics, zone=zone)}
    return reasons.pop() if len(reasons) == 1 else ""
