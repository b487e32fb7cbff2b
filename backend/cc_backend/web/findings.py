"""What stands out about a job, in sentences: what was seen, what it means, what to try, where to see it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cc_backend.insight.footprint import Footprint
from cc_backend.model import Level
from cc_backend.wording.format import count, duration, names_in_short, number, plain
from cc_backend.wording.labels import lower, metric_name, metric_word

Silent = tuple[Sequence[str], int, float]
"""The nodes that sent nothing while others did, the number of all nodes, and the first second without samples."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence that says it, one that explains it, and where to look."""

    level: Level
    headline: str
    detail: str = ""
    link: str = ""
    link_text: str = "Show in plot"


@dataclass(frozen=True, slots=True)
class Check:
    """One cell of the annunciator: dark when all is well."""

    word: str
    level: Level


def findings_of(
    items: Sequence[Footprint],
    *,
    outliers: Sequence[tuple[str, Sequence[str], int]] = (),
    gaps: Sequence[tuple[float, float, str]] = (),
    missing: Sequence[str] = (),
    missing_why: str = "",
    silent: Silent | None = None,
    absent: Sequence[Finding] = (),
) -> list[Finding]:
    """Everything worth a sentence, worst first, with one line at the end for what is in order.

    `outliers` are (metric, names of the nodes that part from the others, number of nodes); `gaps` are
    (length in seconds, start in seconds of run time, words for when); `missing` are metrics of the footprint that
    should be there and are not, `missing_why` the reason they share; `absent` are findings about nodes that sent
    nothing, made elsewhere.
    """
    out = [*(_outlier_finding(*item) for item in outliers), *absent]
    for item in items:
        found = _footprint_finding(item)
        if found:
            out.append(found)
    if silent:
        out.append(_silent_finding(*silent))
    if gaps:
        total = sum(length for length, _, _ in gaps)
        when = gaps[0][2] if len(gaps) == 1 else f"{len(gaps)} times, the first {gaps[0][2]}"
        out.append(Finding(Level.ARTEFACT, f"No data for {duration(total)}, {when}.", "Means leave this time out."))
    if missing:
        names = _listed([metric_name(name) for name in missing])
        out.append(
            Finding(
                Level.ARTEFACT,
                f"{names} {'was' if len(missing) == 1 else 'were'} not measured.",
                f"{missing_why} The verdict leaves this out.".strip(),
            )
        )
    out.sort(key=lambda finding: finding.level.order)
    quiet = [lower(metric_word(item.metric)) for item in items if item.level is Level.OK]
    if quiet:
        plain = f"{count(len(quiet), 'check')} found nothing: {', '.join(quiet)}."
        out.append(Finding(Level.OK, plain))
    return out


def checks_of(items: Sequence[Footprint], outliers: Sequence[str], *, gaps: bool, measured: bool) -> list[Check]:
    """The cells of the annunciator, in the order of the configuration, then balance and data."""
    cells = [Check(metric_word(item.metric), item.level or Level.OK) for item in items]
    if measured:
        cells.append(Check("Balance", Level.CAUTION if outliers else Level.OK))
    cells.append(Check("Data", Level.OK if measured and not gaps else Level.ARTEFACT))
    return cells


def _outlier_finding(metric: str, names: Sequence[str], nodes: int) -> Finding:
    name = metric_name(metric)
    verb = "differs" if len(names) == 1 else "differ"
    return Finding(
        Level.CAUTION,
        f"{len(names)} of {count(nodes, 'node')} {verb} from the rest in {lower(name)}.",
        f"{names_in_short(names)}. Check whether the work is spread over all nodes.",
        f"#m-{metric}",
    )


def _silent_finding(names: Sequence[str], nodes: int, from_s: float) -> Finding:
    since = f" since {duration(from_s)} after the start" if from_s else ""
    return Finding(
        Level.ARTEFACT,
        f"No samples of {len(names)} of {count(nodes, 'node')}{since}.",
        f"{names_in_short(names)}. Means leave this out. If other jobs there are silent too, tell the support staff.",
    )


def _footprint_finding(item: Footprint) -> Finding | None:
    level, scale, value = item.level, item.scale, item.value
    if level is None or value is None or level is Level.OK:
        return None
    unit = f" {item.unit}" if item.unit else ""
    link = f"#m-{item.metric}"
    seen = f"{number(value)}{unit} {_basis(item)}"
    if level is Level.ARTEFACT:
        detail = f"{seen}, while this node type reaches {plain(scale.peak)}. Better not rely on this curve."
        return Finding(level, f"{item.name} cannot be right.", detail, link)
    if level is Level.HIGH:
        detail = f"{seen}; {plain(scale.normal)} is usual at most. Fine for a benchmark."
        return Finding(level, f"{item.name} is above what is usual here.", detail, link)
    if scale.can_exceed_peak and scale.overflows(value):
        detail = f"{seen}, while {plain(scale.peak)} can run at a time. Start fewer processes or threads."
        return Finding(level, f"{item.name} is higher than this node can serve.", detail, link)
    degree = "very " if level is Level.ALERT else ""
    if scale.lower_is_better:
        edge = scale.alert if level is Level.ALERT else scale.caution
        detail = f"{seen} of {plain(scale.peak)}; {plain(edge)} is the limit of what is healthy here."
        return Finding(level, f"{item.name} is {degree}high.", detail, link)
    detail = f"{seen}; on this node type more than {plain(scale.caution)} is usual."
    return Finding(level, f"{item.name} is {degree}low.", detail, link)


def _basis(item: Footprint) -> str:
    return {"avg": "per node in the mean", "max": "at the highest", "min": "at the lowest"}.get(item.statistic, "")


def _listed(names: Sequence[str]) -> str:
    """`A`, `A and b`, `A, b and c`: a sentence begins with it."""
    words = [names[0], *(lower(name) for name in names[1:])]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
