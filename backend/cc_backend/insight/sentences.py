"""Findings in words: what was found, with numbers, what it cost, what to try. Pure: time and zone are arguments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from cc_backend.insight.findings import FindingCode
from cc_backend.insight.gap_findings import MAX_FINDINGS, gaps_of_finding
from cc_backend.insight.job_curves import MIN_JUDGED_SAMPLES
from cc_backend.metricstore import gap_sentences, host_text
from cc_backend.model import Finding, GapReason, JobState, Level
from cc_backend.wording.format import (
    HOUR_S,
    MINUTE_S,
    abbreviate_names,
    count_noun,
    format_duration,
    format_exact_number,
    format_moment_in_sentence,
    format_number,
    format_time_limit,
    join_with_and,
)
from cc_backend.wording.labels import lower_first, metric_name, metric_short_name

_IN_MINUTES_BELOW_S = 5 * HOUR_S
_ADVICE = "If other jobs there are silent too, tell the support staff."
_MEANS_LEAVE_OUT = "Means leave this time out."
_MIN_HOURS = 0.05
_FRACTIONS = ((1.0, "all"), (3 / 4, "three quarters"), (2 / 3, "two thirds"), (1 / 2, "half"), (1 / 3, "a third"),
              (1 / 4, "a quarter"), (1 / 5, "a fifth"), (1 / 10, "a tenth"))  # fmt: skip
_HARDLY = 0.05
_CLOSE = 0.05  # to a fraction, of it
_GPU_ADVICE = "Check whether the program uses all GPUs that it asked for: number of ranks, GPUs per rank."
_HANG_ADVICE = "Look at its output of that time: a deadlock, a lost connection or a full disk are usual causes."


@dataclass(frozen=True, slots=True)
class FindingText:
    """A finding in words: a headline, an explanation, and the metric whose plot shows it."""

    level: Level
    headline: str
    detail: str = ""
    metric: str = ""


@dataclass(frozen=True, slots=True)
class SentenceContext:
    """What the words of a finding depend on beside the finding: whether the job runs, current time, time zone."""

    running: bool
    now_s: float
    zone: tzinfo | None = None
    missing_reason: str = ""

    def moment(self, time_s: float) -> str:
        """A moment inside a sentence."""
        return format_moment_in_sentence(time_s, self.zone, now_s=self.now_s)


def finding_text(finding: Finding, context: SentenceContext) -> FindingText:
    """The finding in words."""
    headline, detail = _RULES[FindingCode(finding.code)](finding, context)
    return FindingText(finding.level, headline, detail, finding.metric)


def finding_headline(finding: Finding, context: SentenceContext) -> str:
    """The finding in one sentence, for a list."""
    return finding_text(finding, context).headline


def cost_sentence(finding: Finding, context: SentenceContext) -> str:
    """What it cost: `That is 27.0 core hours so far, a quarter of the job.`; empty for next to nothing."""
    hours, unit = (finding.gpu_hours, "GPU") if finding.gpu_hours else (finding.core_hours, "core")
    if hours < _MIN_HOURS:
        return ""
    amount = f"{format_number(hours)} {unit} hours"
    said = f"That is {amount} so far" if context.running else f"That cost {amount}"
    name = share_text(float(finding.facts.get("share") or 0.0))
    return f"{said}, {name} of the job." if name else f"{said}."


def share_text(share: float) -> str:
    """A part of a job: `a quarter`, `17 %`; empty for less than one per cent."""
    named = next((word for value, word in _FRACTIONS if abs(share - value) <= _CLOSE * value), "")
    return named or (f"{format_number(share * 100, 0)} %" if share >= 0.01 else "")  # noqa: PLR2004 - one per cent


# Each rule in words: headline and detail


def _stalled(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    facts = finding.facts
    since = context.moment(finding.since_s or 0)
    if context.running:
        headline = f"Nothing has been computed since {since}."
    elif facts["at_limit"]:
        headline = (
            f"Nothing was computed after the first {format_duration(facts['after_s'])}; it ended at its time limit."
        )
    else:
        headline = f"Nothing was computed after the first {format_duration(facts['after_s'])}."
    fell = f"{metric_name(finding.metric)} fell from {_amount(facts, 'before')} to {_amount(facts, 'value')} per node"
    went_on = "has gone on" if context.running else "went on"
    seen = f"{fell} at {since}, and the job {went_on} for {format_duration(facts['lasted_s'])}."
    return headline, _join_words(seen, cost_sentence(finding, context), _HANG_ADVICE)


def _idle(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    facts, several = finding.facts, finding.node_count > 1
    since = context.moment(finding.since_s or 0)
    who = _some_nodes(finding)
    if context.running:
        start = "the start, " if facts["from_start"] else ""
        headline = f"{who} {'have' if several else 'has'} done nothing since {start}{since}."
    else:
        headline = f"{who} did nothing {'at all' if facts['from_start'] else f'from {since} on'}."
    name = lower_first(metric_name(finding.metric))
    others = _others(facts, finding.node_count, running=context.running)
    if facts["before"] is not None and facts["before"] > 2 * facts["value"]:
        fell = f"{_names(finding)} fell from a {name} of {format_number(facts['before'])} to {_amount(facts, 'value')}"
        seen = f"After {format_duration(facts['after_s'])} {fell}; {others}."
    elif several:
        verb = "have" if context.running else "had"
        seen = f"{_names(finding)} {verb} a {name} of {_amount(facts, 'value')}; {others}."
    else:
        seen = f"Its {name} {'is' if context.running else 'was'} {_amount(facts, 'value')}; {others}."
    advice = "Check whether the work is spread over all nodes: host list, number of ranks, tasks per node."
    return headline, _join_words(seen, cost_sentence(finding, context), advice)


def _idle_gpus(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    facts, several = finding.facts, finding.facts["gpus"] > 1
    since = context.moment(finding.since_s or 0)
    who = f"{format_number(facts['gpus'])} of {count_noun(facts['of_gpus'], 'GPU')}"
    if context.running:
        start = "the start, " if facts["from_start"] else ""
        headline = f"{who} {'have' if several else 'has'} done nothing since {start}{since}."
    else:
        headline = f"{who} did nothing {'at all' if facts['from_start'] else f'from {since} on'}."
    verb = "is" if context.running else "was"
    seen = f"{_gpu_names(finding)}: GPU use {verb} {_amount(facts, 'value')}"
    others = f"others {'have' if context.running else 'had'} {format_number(facts['others'])} {facts['unit']}".rstrip()
    return headline, _join_words(f"{seen}; the {others}.", cost_sentence(finding, context), _GPU_ADVICE)


def _gpu_names(finding: Finding) -> str:
    """`00000000:E3:00.0 of tg002`, by node; of more than a few nodes the first and how many more."""
    named = [f"{', '.join(ids)} of {host}" for host, ids in finding.facts["names"]]
    shown = named[:_MOST_NODES_OF_GPUS]
    more = finding.node_count - len(shown)
    return "; ".join(shown) + (f"; and of {count_noun(more, 'more node')}" if more else "")


_MOST_NODES_OF_GPUS = 2


def _ended(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    del context
    facts = finding.facts
    state, asked = JobState(facts["state"]), format_time_limit(facts["limit_s"]) if facts["limit_s"] else ""
    after = f"after {format_duration(facts['after_s'])}"
    if asked and facts["after_s"] < facts["limit_s"]:
        after = f"{after} of {asked}"
    headline, advice = _ENDS[state]
    code = f"Its exit code is {facts['exit_code']}." if facts["exit_code"] else ""
    of_limit = f" of {asked}" if asked else ""
    return headline.format(after=after, of_limit=of_limit), _join_words(_memory(finding), code, advice)


_LOST = "What was not written by then is lost."
_NO_FAULT = "That is no fault of the job. Submit it again."
_ENDS = {
    JobState.FAILED: ("Failed {after}.", "The last lines of its output say why."),
    JobState.TIMEOUT: ("Ended at its time limit{of_limit}.", f"{_LOST} Ask for more time, or write checkpoints."),
    JobState.DEADLINE: ("Ended at its deadline, {after}.", _LOST),
    JobState.OUT_OF_MEMORY: ("Ran out of memory {after}.", "Ask for more memory, or use more nodes."),
    JobState.NODE_FAIL: ("A node failed {after}.", _NO_FAULT),
    JobState.BOOT_FAIL: ("Its nodes did not start.", _NO_FAULT),
    JobState.PREEMPTED: ("Made room for another job {after}.", ""),
    JobState.CANCELLED: ("Cancelled {after}.", ""),
}


def _memory(finding: Finding) -> str:
    facts = finding.facts
    if "highest" not in facts or not finding.hosts:
        return ""
    amounts = f"{format_number(facts['highest'])} of {_join_words(format_exact_number(facts['peak']), facts['unit'])}"
    return f"Memory reached {amounts} on {finding.hosts[0]}."


def _differ(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    facts, several = finding.facts, finding.node_count > 1
    name = lower_first(metric_name(finding.metric))
    headline = f"{_some_nodes(finding)} {'differ' if several else 'differs'} from the rest in {name}."
    who = f"{_names(finding)}: {_amount(facts, 'value')} in the mean" if several else (
        f"{_amount(facts, 'value')} in the mean"
    )  # fmt: skip
    others = _others(facts, finding.node_count, running=context.running)
    return headline, f"{who}; {others}. Check whether the work is spread over all nodes."


def _absent(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    facts = finding.facts
    if not facts["why"]:
        headline = f"The agents on {format_number(finding.node_count)} more nodes were silent for some time."
        return headline, f"{host_text(finding.hosts)}. {_MEANS_LEAVE_OUT}"
    when = " ".join(
        gap_sentences(gaps_of_finding(finding), "", zone=context.zone, now_s=context.now_s, max_sentences=MAX_FINDINGS)
    )
    lost_s, length_s = facts["lost_s"], facts["length_s"]
    everything = lost_s >= length_s
    several = finding.node_count > 1
    all_of_them = several and finding.node_count == facts["of_nodes"]
    hosts = f"all {format_number(finding.node_count)} nodes" if all_of_them else _host_text(finding)
    match GapReason(facts["why"]):
        case GapReason.HOST_SILENT | GapReason.HOST_NEVER_SEEN as why if everything or why is GapReason.HOST_NEVER_SEEN:
            return f"No samples of {hosts}.", f"{when} {_ADVICE}"
        case GapReason.HOST_SILENT:
            subject = f"The agents on {hosts}" if several else f"The agent on {hosts}"
            if facts["times"] == 1 and facts["stretches"][0][3]:
                silent = f"{'have' if several else 'has'} been silent for the last {format_duration(lost_s)}"
            else:
                silent = f"{'were' if several else 'was'} silent for {lost_time_text(lost_s, length_s)}"
            return f"{subject} {silent}.", f"{when} {_MEANS_LEAVE_OUT} {_ADVICE}"
        case GapReason.STORE_DOWN:
            lost = "the whole job" if everything else lost_time_text(lost_s, length_s)
            return f"The metric store was off for {lost}.", f"{when} {_MEANS_LEAVE_OUT}"
        case GapReason.STORE_RESTORING | GapReason.OLDER_THAN_RETENTION as why:
            what = "The samples of this job" if everything else f"Samples of {lost_time_text(lost_s, length_s)}"
            verb = "are not read back yet" if why is GapReason.STORE_RESTORING else "are no longer kept"
            return f"{what} {verb}.", when
        case _:
            return when, ""


def lost_time_text(lost_s: float, length_s: float) -> str:
    """How much of a job: `68 of 120 min`, `3 h 05 min of 26 h`; `120 min` where it is all of it."""
    if lost_s >= length_s:
        return format_duration(length_s)
    if lost_s >= MINUTE_S and length_s < _IN_MINUTES_BELOW_S:
        return f"{format_number(int(lost_s // MINUTE_S))} of {format_number(int(length_s // MINUTE_S))} min"
    return f"{format_duration(lost_s)} of {format_duration(length_s)}"


def _level(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    facts = finding.facts
    name, edge = metric_name(finding.metric), _join_words(format_exact_number(facts["edge"]), facts["unit"])
    seen = f"{_amount(facts, 'value')} {_BASES.get(facts['statistic'], '')}"
    very = "very " if finding.level is Level.ALERT else ""
    of_peak = f"{format_number(facts['value'])} of {_join_words(format_exact_number(facts['peak']), facts['unit'])}"
    match facts["kind"]:
        case "impossible":
            explained = f"{seen}, while this node type reaches {edge}. Better not rely on this curve."
            return f"{name} cannot be right.", explained
        case "above":
            explained = f"{seen}; {edge} is usual at most. Fine for a benchmark."
            return f"{name} is above what is usual here.", explained
        case "overload":
            explained = f"{seen}, while {edge} can run at a time. Start fewer processes or threads."
            return f"{name} is higher than this node can serve.", explained
        case "high":
            on = f" on {finding.hosts[0]}" if finding.hosts else ""
            room = "A larger system may not fit." if "mem" in finding.metric else ""
            explained = _join_words(f"{edge} is the limit of what is healthy here.", room)
            if facts["statistic"] == "max":
                return f"{_subject(finding.metric)} reached {of_peak}{on}.", explained
            return f"{name} is {very}high: {of_peak}{on}.", explained
        case _:
            return _low(finding, context, f"{name} is {very}low: {of_peak}.", seen)


def _low(finding: Finding, context: SentenceContext, headline: str, seen: str) -> tuple[str, str]:
    """A value that is too low: of GPUs and cores how many did nothing."""
    facts = finding.facts
    in_use = facts["value"] / facts["peak"] if facts["peak"] else 0.0
    usual = f"On this node type more than {_join_words(format_exact_number(facts['edge']), facts['unit'])} is usual."
    if finding.metric == "acc_utilization" and finding.gpu_hours:
        gpus = count_noun(facts.get("gpus", 0), "GPU")
        verb = "is" if facts.get("gpus") == 1 else "are"
        used = f"{gpus} {verb if context.running else {'is': 'was', 'are': 'were'}[verb]} used"
        hours = f"{format_number(finding.gpu_hours)} GPU hours did nothing{' so far' if context.running else ''}"
        return f"{used} {format_number(in_use * 100, 0)} % of the time: {hours}.", f"{seen}. {usual} {_GPU_ADVICE}"
    if finding.metric == "cpu_load" and finding.core_hours:
        verb, wait, work = ("is", "wait", "works") if context.running else ("was", "waited", "worked")
        waiting = f"about {share_text(1.0 - in_use)} of the cores {wait}"
        rest = f"hardly any core {work}" if in_use < _HARDLY else waiting
        headline = f"CPU load {verb} {format_number(facts['value'])} of {format_exact_number(facts['peak'])}: {rest}."
        return headline, _join_words(usual, cost_sentence(finding, context))
    return headline, _join_words(f"Per node in the mean. {usual}" if facts["statistic"] == "avg" else usual)


def _subject(metric: str) -> str:
    return {"mem_used": "Memory", "acc_mem_used": "GPU memory"}.get(metric, metric_name(metric))


_BASES = {"avg": "per node in the mean", "max": "at the highest", "min": "at the lowest"}


def _not_measured(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    names = finding.facts["metrics"]
    verb = "was" if len(names) == 1 else "were"
    return f"{_list_metrics(names)} {verb} not measured.", _join_words(
        context.missing_reason, "The verdict leaves this out."
    )


def _too_short(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    facts = finding.facts
    samples = count_noun(int(facts["samples"]), "sample")
    takes = f"A verdict takes {format_duration(facts['least_s'])} and {MIN_JUDGED_SAMPLES} samples."
    if context.running:
        return (
            "Too early to judge.",
            f"It has run {format_duration(facts['after_s'])} and has {samples} so far. {takes}",
        )
    if facts["after_s"] < facts["least_s"]:
        return "Too short to judge.", f"It ran {format_duration(facts['after_s'])} and has {samples}. {takes}"
    return "Too few samples to judge.", f"It ran {format_duration(facts['after_s'])} and has {samples}. {takes}"


def _nothing_found(finding: Finding, context: SentenceContext) -> tuple[str, str]:
    del context
    quiet, unjudged, early = (
        [lower_first(metric_short_name(name)) for name in finding.facts.get(key, ())]
        for key in ("metrics", "unjudged", "early")
    )
    nothing = f"{count_noun(len(quiet), 'check')} passed: {', '.join(quiet)}."
    on_these = f"Not judged on this node type: {', '.join(unjudged)}." if unjudged else ""
    return _join_words(nothing, on_these, f"Too few samples to judge: {', '.join(early)}." if early else ""), ""


_RULES: Mapping[FindingCode, Callable[[Finding, SentenceContext], tuple[str, str]]] = {
    FindingCode.STALLED: _stalled,
    FindingCode.IDLE_NODES: _idle,
    FindingCode.IDLE_GPUS: _idle_gpus,
    FindingCode.ENDED: _ended,
    FindingCode.NODES_DIFFER: _differ,
    FindingCode.SAMPLES_ABSENT: _absent,
    FindingCode.METRIC_LEVEL: _level,
    FindingCode.NOT_MEASURED: _not_measured,
    FindingCode.TOO_SHORT: _too_short,
    FindingCode.NOTHING_FOUND: _nothing_found,
}


# Parts of sentences


def _join_words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _amount(facts: Mapping[str, Any], key: str) -> str:
    return _join_words(format_number(facts[key]), facts["unit"])


def _some_nodes(finding: Finding) -> str:
    """`bn08` for one node, else `4 of 16 nodes`."""
    if finding.node_count == 1 and finding.hosts:
        return finding.hosts[0]
    return f"{format_number(finding.node_count)} of {count_noun(finding.facts['of_nodes'], 'node')}"


def _names(finding: Finding) -> str:
    """The nodes by name, `tn0257 to tn0260`; of more than were kept the first and how many more."""
    if finding.node_count > len(finding.hosts) > 1:
        return f"{', '.join(finding.hosts[:2])} and {format_number(finding.node_count - 2)} more"
    return abbreviate_names(finding.hosts)


def _host_text(finding: Finding) -> str:
    if finding.node_count > len(finding.hosts):
        return f"{format_number(finding.node_count)} nodes ({finding.hosts[0]} and others)"
    return host_text(finding.hosts)


def _others(facts: Mapping[str, Any], nodes: int, *, running: bool) -> str:
    """`the other three nodes have 15.6 of 16`."""
    left = facts["of_nodes"] - nodes
    amount = _join_words(f"{format_number(facts['others'])} of {format_exact_number(facts['peak'])}", facts["unit"])
    if left == 1:
        return f"the other node {'has' if running else 'had'} {amount}"
    return f"the other {_SMALL.get(left) or format_number(left)} nodes {'have' if running else 'had'} {amount}"


_SMALL = {2: "two", 3: "three", 4: "four"}


def _list_metrics(metrics: Sequence[str]) -> str:
    """`A`, `A and b`, `A, b and c`: a sentence begins with it."""
    names = [metric_name(name) for name in metrics]
    return join_with_and([names[0], *(lower_first(name) for name in names[1:])])
