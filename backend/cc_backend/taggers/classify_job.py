"""The classes of a finished job by rules, from statistics of its metrics and thresholds of its subcluster. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cc_backend.clusters.model import MetricConfig
from cc_backend.model import Job, MetricStatistic
from cc_backend.taggers.expression_tokens import RuleExpressionError
from cc_backend.taggers.expression_values import evaluate
from cc_backend.taggers.rule_files import LIMITS, Rule


@dataclass(frozen=True, slots=True)
class JobClass:
    """A class that a job belongs to, with the hint for its owner.

    `is_restricted` says that it was found by a metric that cluster.json restricts to staff.
    """

    tag: str
    hint: str = ""
    is_restricted: bool = False


def classify_job(job: Job, metrics: Mapping[str, MetricConfig], rules: Iterable[Rule]) -> list[JobClass]:
    """The classes of a job, in the order of the rules.

    `metrics` are those of its subcluster. A rule is skipped if a metric has no statistic or configuration, if it reads
    a threshold that is not set (0), or if a value cannot be computed.
    """
    found = []
    for rule in rules:
        try:
            job_class = _apply(rule, job, metrics)
        except RuleExpressionError:
            continue
        if job_class is not None:
            found.append(job_class)
    return found


def _apply(rule: Rule, job: Job, metrics: Mapping[str, MetricConfig]) -> JobClass | None:
    values: dict[str, Any] = {"job": _job_values(job), **rule.parameters}
    statistics = job.statistics or {}
    for name in rule.metrics:
        if name not in statistics or name not in metrics:
            return None
        values[name] = _metric_values(statistics[name], metrics[name])
    if not all(evaluate(requirement, values) for requirement in rule.requirements):
        return None
    for name, expression in rule.variables:
        values[name] = evaluate(expression, values)
    if not evaluate(rule.condition, values):
        return None
    is_restricted = any(metrics[name].restrict for name in rule.metrics)
    return JobClass(rule.tag, "" if is_restricted else rule.hint.render(values).strip(), is_restricted)


def _job_values(job: Job) -> dict[str, Any]:
    return {
        "shared": job.shared,
        "jobState": job.state.value,
        "duration": job.duration,
        "numCores": job.num_hwthreads,
        "numNodes": job.num_nodes,
        "numAcc": job.num_acc,
        "smt": job.smt,
    }


def _metric_values(statistic: MetricStatistic, config: MetricConfig) -> dict[str, Any]:
    limits = {name: getattr(config, name) for name in LIMITS}
    return {
        "min": float(statistic.min),
        "max": float(statistic.max),
        "avg": float(statistic.avg),
        "limits": {name: float(value) for name, value in limits.items() if value > 0},
    }
