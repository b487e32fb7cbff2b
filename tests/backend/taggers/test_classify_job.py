"""Job classes by rules, and how often the shipped rules are right about jobs of known character."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cc_backend.clusters import ClusterRegistry, MetricConfig, parse_cluster
from cc_backend.model import Job, JobState, MetricStatistic, MetricUnit, Scope
from cc_backend.taggers.classify_job import JobClass, classify_job
from cc_backend.taggers.rule_files import parse_rule, read_rules, shipped_rule_files
from cc_demo.characters import CHARACTERS
from cc_demo.cluster_shape import ClusterShape, SubClusterShape
from cc_demo.job_stream import generate_jobs
from cc_demo.records import make_archived_job


def metric(name: str, **limits: float) -> MetricConfig:
    return MetricConfig(name=name, unit=MetricUnit("B/s", "G"), scope=Scope.NODE, timestep_s=60, **limits)


METRICS = {"mem_bw": metric("mem_bw", peak=100, normal=80, caution=40, alert=10), "load": metric("load")}
RULE: dict[str, Any] = {
    "tag": "busy",
    "metrics": ["mem_bw"],
    "rule": "mem_bw.avg > mem_bw.limits.normal",
    "hint": "{{.mem_bw.avg}} of {{.mem_bw.limits.peak}} on {{.job.numNodes}}",
}


def job(**changes: Any) -> Job:
    statistics = {name: MetricStatistic(MetricUnit("B/s", "G"), 1.0, 90.126, 99.0) for name in ("mem_bw", "load")}
    return Job(
        job_id=1,
        cluster="tern",
        user="u",
        project="p",
        start_time=1_760_000_000,
        resources=(),
        num_nodes=4,
        duration=7200,
        num_hwthreads=64,
        num_acc=2,
        smt=2,
        state=JobState.COMPLETED,
        statistics=changes.pop("statistics", statistics),
        **changes,
    )


def classes(*rules: dict[str, Any], metrics: Mapping[str, MetricConfig] = METRICS, **changes: Any) -> list[JobClass]:
    return classify_job(job(**changes), metrics, [parse_rule(rule, {"factor": 0.5}) for rule in rules])


def test_a_job_belongs_to_the_classes_whose_rules_hold() -> None:
    assert classes(RULE, {**RULE, "tag": "idle", "rule": "mem_bw.avg < mem_bw.limits.alert"}) == [
        JobClass("busy", "90.13 of 100 on 4")
    ]


def test_a_rule_reads_the_job_its_metrics_parameters_and_variables() -> None:
    rule = {
        **RULE,
        "parameters": ["factor"],
        "requirements": ["job.shared == 'none'", "job.jobState == 'completed'", "job.duration == 7200"],
        "variables": [{"name": "a", "expr": "mem_bw.min * factor"}, {"name": "b", "expr": "a + job.smt"}],
        "rule": "b == 2.5 && job.numCores == 64 && job.numAcc == 2 && mem_bw.max == 99",
        "hint": "{{.b}}",
    }
    assert classes(rule) == [JobClass("busy", "2.5")]
    assert classes({**rule, "requirements": ["job.shared != 'none'"]}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": ["load"], "rule": "load.avg > load.limits.peak", "hint": ""},
        {"metrics": ["load"], "rule": "load.avg >= 0", "hint": "{{.load.limits.peak}}"},
        {"metrics": ["absent"], "rule": "absent.avg >= 0", "hint": ""},
        {"variables": [{"name": "a", "expr": "1 / (job.numAcc - 2)"}], "rule": "a > 0"},
        {"requirements": ["1 / (job.numAcc - 2) > 0"]},
        {"rule": "9 ** 9 ** 9 > 1"},
    ],
)
def test_a_rule_that_cannot_be_computed_is_skipped_and_others_are_not(changes: dict[str, Any]) -> None:
    assert [found.tag for found in classes({**RULE, **changes, "tag": "broken"}, RULE)] == ["busy"]


def test_a_job_without_statistics_or_configuration_has_no_class() -> None:
    assert classes(RULE, statistics=None) == []
    assert classes(RULE, metrics={}) == []


def test_a_class_by_a_restricted_metric_is_marked_and_says_nothing() -> None:
    restricted = {"mem_bw": replace(METRICS["mem_bw"], restrict=True)}
    assert classes(RULE, metrics=restricted) == [JobClass("busy", "", is_restricted=True)]


# --- quality: character -> the classes that it should have

EXPECTED = {
    "memory_bound": {"memorybound"},
    "memory_grows": {"highmemory"},
    "imbalance": {"lowload"},
    "hung": {"lowutilization"},
    "overloaded": {"excessiveload"},
}
JOBS_OF_EACH = 10


@pytest.fixture(scope="module")
def shape() -> ClusterShape:
    nodes = (
        SubClusterShape("cpu", 12, "bn", threads_per_core=2, cores_per_socket=4),
        SubClusterShape("gpu", 4, "bg", cores_per_socket=4, gpus=2, memory_gb=512),
    )
    return ClusterShape("birch", nodes, timestep_s=120)


@pytest.fixture(scope="module")
def clusters(shape: ClusterShape) -> ClusterRegistry:
    parsed, _ = parse_cluster(shape.document(), source="test")
    return ClusterRegistry({parsed.name: parsed})


def archived_jobs(shape: ClusterShape, clusters: ClusterRegistry) -> Iterator[tuple[str, Job]]:
    """Ten jobs of each character, and ten that work with too many processes, which no character does."""
    for name in CHARACTERS:
        for made in generate_jobs(shape, 1, JOBS_OF_EACH, only=name, first_start_s=1_760_000_417):
            archived, _ = make_archived_job(made, clusters)
            yield name, archived
            if name == "works":
                assert archived.statistics is not None
                load = archived.statistics["cpu_load"]
                more = replace(load, min=load.min * 1.6, avg=load.avg * 1.6, max=load.max * 1.6)
                yield "overloaded", replace(archived, statistics={**archived.statistics, "cpu_load": more})


def test_on_jobs_of_known_character_the_shipped_rules_are_as_good_as_the_manual_says(
    shape: ClusterShape, clusters: ClusterRegistry
) -> None:
    rules, _ = read_rules(shipped_rule_files(), {})
    counts: dict[str, list[int]] = {rule.tag: [0, 0, 0] for rule in rules}
    total = 0
    for name, archived in archived_jobs(shape, clusters):
        sub_cluster = clusters.get(archived.cluster).sub_cluster(archived.sub_cluster)
        found = {job_class.tag for job_class in classify_job(archived, sub_cluster.metrics, rules)}
        total += 1
        for tag, count in counts.items():
            wanted = tag in EXPECTED.get(name, set())
            count[0] += wanted and tag in found
            count[1] += not wanted and tag in found
            count[2] += wanted and tag not in found
    assert total == 130
    assert counts == {
        "excessiveload": [10, 0, 0],
        "highmemory": [10, 0, 0],
        "lowload": [10, 0, 0],
        "lowutilization": [10, 0, 0],
        "memorybound": [10, 0, 0],
    }
