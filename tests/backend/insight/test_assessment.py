"""What is found about jobs of every kind, and the one verdict that follows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC

import numpy as np
import pytest

from cc_backend.clusters import SubCluster
from cc_backend.insight.assessment import (
    MAX_STORED_HOSTS,
    RULES_VERSION,
    Assessment,
    assess_job,
    find_outlier_nodes,
    judged_metrics,
    stored_assessment,
)
from cc_backend.insight.finding_json import finding_from_json, finding_to_json
from cc_backend.insight.findings import FindingCode, parse_exit_code
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.insight.sentences import FindingText, SentenceContext, finding_text
from cc_backend.model import (
    Finding,
    Job,
    JobData,
    JobMetric,
    JobState,
    Judgement,
    Level,
    MetricUnit,
    SampleSeries,
    Scope,
)

NAN = float("nan")
START_S = 1_760_000_400  # 09:00 UTC
HOSTS = tuple(f"bn{i:02d}" for i in range(1, 13))
RECORD = {"cpu_load_avg": 95.0, "flops_any_avg": 900.0, "mem_bw_avg": 200.0, "mem_used_max": 100.0}
RECORD |= {"vectorization_ratio_avg": 55.0, "cpu_power_avg": 500.0}
Judge = Callable[..., Assessment]


def steady(value: float, slots: int = 121) -> list[float]:
    return [value] * slots


@pytest.fixture
def judge(make_job: Callable[..., Job], make_data: Callable[..., JobData], tarn: Mapping[str, SubCluster]) -> Judge:
    """Judges a job of two hours on the nodes that have curves; its record is as it should be."""

    def make(data: JobData | None = None, /, sub: str = "main", **changes: object) -> Assessment:
        fields: dict[str, object] = {"footprint": RECORD, **changes}
        if "hosts" not in changes and "resources" not in changes:
            fields["hosts"] = ("tn0001", "tn0002")
        metrics = judged_metrics(tarn[sub].metrics)
        return assess_job(
            make_job(**fields), JobCurveSet(data or {}).select_nodes_and_gpus(metrics), tarn[sub], metrics
        )

    return make


def words(found: Assessment, *, running: bool = False, now_s: float = START_S + 7200) -> list[FindingText]:
    return [finding_text(finding, SentenceContext(running, now_s, UTC)) for finding in found.findings]


def codes(found: Assessment) -> list[str]:
    return [finding.code for finding in found.problems]


# Idle nodes


def idle_data(make_data: Callable[..., JobData], *, idle: Sequence[str], hosts: Sequence[str] = HOSTS) -> JobData:
    return make_data(cpu_load={host: steady(0.4 if host in idle else 94.0) for host in hosts})


def test_an_idle_node_is_told_by_name_value_others_time_and_cost(
    judge: Judge, make_data: Callable[..., JobData]
) -> None:
    found = judge(idle_data(make_data, idle=["bn08"], hosts=HOSTS[4:8]), hosts=HOSTS[4:8])
    assert found.level is Level.ALERT
    first = words(found)[0]
    assert first.headline == "bn08 did nothing at all."
    assert first.detail.startswith(
        "Its CPU load was 0.40; the other three nodes had 94.0 of 96. That cost 191 core hours,"
    )
    assert "a quarter of the job" in first.detail
    assert first.metric == "cpu_load"


def test_of_a_running_job_it_says_since_when(judge: Judge, make_data: Callable[..., JobData]) -> None:
    found = judge(
        idle_data(make_data, idle=["bn08"], hosts=HOSTS[4:8]), hosts=HOSTS[4:8], state=JobState.RUNNING, duration=7200
    )
    first = words(found, running=True)[0]
    assert first.headline == "bn08 has done nothing since the start, 09:00."
    assert "That is 191 core hours so far, a quarter of the job." in first.detail


def test_nodes_count_as_the_job_has_them_and_not_as_they_sent(judge: Judge, make_data: Callable[..., JobData]) -> None:
    found = judge(idle_data(make_data, idle=["bn07", "bn08"], hosts=HOSTS[:11]), hosts=HOSTS)
    assert words(found)[0].headline == "2 of 12 nodes did nothing at all."


def test_nodes_that_stop_are_told_with_the_moment_and_what_they_had(
    judge: Judge, make_data: Callable[..., JobData]
) -> None:
    rows = {host: steady(95.0) if place < 9 else [95.0] * 41 + [1.5] * 80 for place, host in enumerate(HOSTS)}
    found = judge(make_data(cpu_load=rows), hosts=HOSTS)
    first = words(found)[0]
    assert first.headline == "3 of 12 nodes did nothing from 09:40 on."
    assert first.detail.startswith("After 40 min bn10, bn11, bn12 fell from a CPU load of 95.0 to 1.50; ")


def test_a_moment_of_another_day_has_its_day(judge: Judge, make_data: Callable[..., JobData]) -> None:
    found = judge(idle_data(make_data, idle=["bn08"], hosts=HOSTS[4:8]), hosts=HOSTS[4:8], state=JobState.RUNNING)
    (first, *_) = words(found, running=True, now_s=START_S + 86400)
    assert first.headline == "bn08 has done nothing since the start, Thu 09:00."


def test_what_idle_nodes_explain_is_not_told_again(judge: Judge, make_data: Callable[..., JobData]) -> None:
    data = idle_data(make_data, idle=["bn08"])
    data |= make_data(flops_any={host: steady(0.1 if host == "bn08" else 900.0) for host in HOSTS})
    found = judge(data, hosts=HOSTS)
    assert codes(found).count(FindingCode.IDLE_NODES) == 1
    assert FindingCode.NODES_DIFFER not in codes(found)
    assert found.outliers["flops_any"] == {"bn08": Level.ALERT}  # the plot marks it all the same


def test_a_node_that_works_less_than_the_others_differs(judge: Judge, make_data: Callable[..., JobData]) -> None:
    rows = {host: steady(50.0 if host == "bn03" else 94.0) for host in HOSTS}
    found = judge(make_data(cpu_load=rows), hosts=HOSTS)
    first = words(found)[0]
    assert first.headline == "bn03 differs from the rest in CPU load."
    assert first.detail.startswith("50.0 in the mean; the other 11 nodes had 94.0 of 96.")
    assert first.level is Level.CAUTION  # that of the node itself
    assert found.outliers == {"cpu_load": {"bn03": Level.CAUTION}}


def test_nodes_that_part_in_several_metrics_are_told_once(judge: Judge, make_data: Callable[..., JobData]) -> None:
    data = make_data(
        cpu_load={host: steady(50.0 if host == "bn03" else 94.0) for host in HOSTS},
        flops_any={host: steady(300.0 if host == "bn03" else 900.0) for host in HOSTS},
        mem_bw={host: steady(50.0 if host == "bn05" else 200.0) for host in HOSTS},
    )
    found = judge(data, hosts=HOSTS)
    told = [(finding.metric, finding.hosts) for finding in found.findings if finding.code == FindingCode.NODES_DIFFER]
    assert sorted(told) == [("cpu_load", ("bn03",)), ("mem_bw", ("bn05",))]


def test_a_metric_that_does_not_judge_makes_no_finding(judge: Judge, make_data: Callable[..., JobData]) -> None:
    rows = {host: steady(1e9 if host == "bn03" else 1e6) for host in HOSTS}
    assert judge(make_data(net_bw=rows, cpu_load={host: steady(94.0) for host in HOSTS}), hosts=HOSTS).problems == []


# GPUs


def gpu_data(rows: Mapping[str, Sequence[float]], load: float = 90.0) -> JobData:
    def metric(values: Mapping[str, Sequence[float]]) -> JobMetric:
        return JobMetric(
            MetricUnit("%"), 60, [SampleSeries(host, np.array(row, np.float32)) for host, row in values.items()]
        )

    loads = {host: [load] * len(row) for host, row in rows.items()}
    return {"acc_utilization": {Scope.NODE: metric(rows)}, "cpu_load": {Scope.NODE: metric(loads)}}


def test_a_gpu_job_is_held_by_its_gpus_and_loses_gpu_hours(judge: Judge) -> None:
    found = judge(gpu_data({"tg001": steady(80.0), "tg002": steady(0.0)}), sub="gpu", hosts=("tg001", "tg002"),
                  num_acc=8, footprint={"acc_utilization_avg": 40.1})  # fmt: skip
    finding = found.findings[0]
    assert (finding.code, finding.metric, finding.level) == (FindingCode.IDLE_NODES, "acc_utilization", Level.ALERT)
    assert (finding.core_hours, finding.gpu_hours) == (0, pytest.approx(8.0))
    assert "That cost 8.00 GPU hours, half of the job." in words(found)[0].detail


def test_gpus_that_are_hardly_used_cost_gpu_hours(judge: Judge) -> None:
    found = judge(gpu_data({"tg001": steady(2.0)}), sub="gpu", hosts=("tg001",), num_acc=4,
                  footprint={"acc_utilization_avg": 2.0})  # fmt: skip
    (finding, *_) = found.findings
    assert (finding.code, finding.metric) == (FindingCode.METRIC_LEVEL, "acc_utilization")
    assert finding.gpu_hours == pytest.approx(4 * 2 * 0.98)
    assert words(found)[0].headline == "4 GPUs were used 2 % of the time: 7.84 GPU hours did nothing."


def by_gpu(rows: Mapping[tuple[str, str], Sequence[float]]) -> JobData:
    """GPU use by GPU and, as its mean, by node."""
    hosts = dict.fromkeys(host for host, _ in rows)
    means = {host: np.mean([row for (one, _), row in rows.items() if one == host], axis=0).tolist() for host in hosts}
    data = gpu_data(means)
    series = [SampleSeries(host, np.array(row, np.float32), gpu) for (host, gpu), row in rows.items()]
    data["acc_utilization"][Scope.ACCELERATOR] = JobMetric(MetricUnit("%"), 60, series)
    return data


def test_one_idle_gpu_of_eight_is_told_by_name_with_its_hours(judge: Judge) -> None:
    rows = {(f"tg00{node}", f"{slot}"): steady(90.0) for node in (1, 2) for slot in range(4)}
    rows["tg002", "3"] = steady(0.1)
    found = judge(by_gpu(rows), sub="gpu", hosts=("tg001", "tg002"), num_acc=8, footprint={"acc_utilization_avg": 79.0})
    (finding, *_) = found.findings
    assert (found.level, finding.code, finding.hosts) == (Level.ALERT, FindingCode.IDLE_GPUS, ("tg002",))
    first = words(found)[0]
    assert first.headline == "1 of 8 GPUs did nothing at all."
    assert first.detail.startswith("3 of tg002: GPU use was 0.10 %; the others had 90.0 %. That cost 2.00 GPU hours,")
    assert found.outliers == {}  # its node works


def test_a_gpu_that_falls_idle_is_told_with_the_moment(judge: Judge) -> None:
    rows = {("tg001", f"{slot}"): steady(90.0) for slot in range(4)}
    rows["tg001", "2"] = [90.0] * 61 + [0.0] * 60
    found = judge(by_gpu(rows), sub="gpu", hosts=("tg001",), num_acc=4, footprint={"acc_utilization_avg": 79.0},
                  state=JobState.RUNNING)  # fmt: skip
    assert words(found, running=True)[0].headline == "1 of 4 GPUs has done nothing since 10:00."


def test_gpus_of_an_idle_node_are_told_once(judge: Judge) -> None:
    rows = {(f"tg00{node}", f"{slot}"): steady(90.0 * (node == 1)) for node in (1, 2) for slot in range(4)}
    found = judge(by_gpu(rows), sub="gpu", hosts=("tg001", "tg002"), num_acc=8, footprint={"acc_utilization_avg": 45.0})
    assert codes(found)[0] == FindingCode.IDLE_NODES
    assert FindingCode.IDLE_GPUS not in codes(found)


def test_gpus_that_work_by_turns_are_not_idle(judge: Judge) -> None:
    rows = {("tg001", f"{slot}"): [90.0 * (minute % 4 == slot) for minute in range(121)] for slot in range(4)}
    found = judge(by_gpu(rows), sub="gpu", hosts=("tg001",), num_acc=4, footprint={"acc_utilization_avg": 22.5})
    assert FindingCode.IDLE_GPUS not in codes(found)


def test_the_processors_of_a_gpu_job_cost_nothing(judge: Judge) -> None:
    found = judge(gpu_data({"tg001": steady(80.0)}, load=3.0), sub="gpu", hosts=("tg001",), num_acc=4,
                  footprint={"acc_utilization_avg": 80.0, "cpu_load_avg": 3.0})  # fmt: skip
    assert all(finding.core_hours == 0 for finding in found.findings)


# Hung


def hung_data(make_data: Callable[..., JobData], slots: int = 541) -> JobData:
    return make_data(
        cpu_load={"tn0001": steady(95.0, slots)},
        flops_any={"tn0001": [900.0] * 11 + [0.6] * (slots - 11)},
        mem_bw={"tn0001": [200.0] * 11 + [1.0] * (slots - 11)},
    )


HUNG = {"hosts": ("tn0001",), "duration": 32400, "walltime": 32400}


def test_a_job_that_hung_and_ran_into_its_limit_is_told_as_one_finding(
    judge: Judge, make_data: Callable[..., JobData]
) -> None:
    found = judge(hung_data(make_data), state=JobState.TIMEOUT, **HUNG)
    first = words(found)[0]
    assert found.level is Level.ALERT
    assert first.headline == "Nothing was computed after the first 10 min; it ended at its time limit."
    assert first.detail.startswith(
        "Flop rate fell from 900 GFlop/s to 0.60 GFlop/s per node at 09:10, and the job went on"
    )
    assert found.findings[0].core_hours == pytest.approx(96 * (32400 - 600) / 3600)
    assert [word.headline for word in words(found)].count("Ended at its time limit of 9 h.") == 0
    assert not any("Flop rate is" in word.headline for word in words(found))


def test_a_job_that_hangs_now_says_since_when(judge: Judge, make_data: Callable[..., JobData]) -> None:
    found = judge(hung_data(make_data, 121), hosts=("tn0001",), state=JobState.RUNNING)
    assert words(found, running=True)[0].headline == "Nothing has been computed since 09:10."


def test_a_hung_job_that_somebody_cancelled_says_both(judge: Judge, make_data: Callable[..., JobData]) -> None:
    found = judge(hung_data(make_data), state=JobState.CANCELLED, hosts=("tn0001",), duration=32400, walltime=43200)
    said = [word.headline for word in words(found)]
    assert said[0] == "Nothing was computed after the first 10 min."
    assert "Cancelled after 9 h 00 min of 12 h." in said


def test_a_metric_that_a_finding_is_about_is_not_said_to_have_found_nothing(
    judge: Judge, make_data: Callable[..., JobData]
) -> None:
    found = judge(idle_data(make_data, idle=("bn08",)), hosts=HOSTS)
    assert [finding.metric for finding in found.problems] == ["cpu_load"]
    assert "cpu_load" not in found.findings[-1].facts["metrics"]


# Too little to judge


def early(make_data: Callable[..., JobData], slots: int, step_s: int = 60, **more: float) -> JobData:
    """All metrics far too low, one node apart from the others, for so many samples."""
    low = {
        "cpu_load": 2.0,
        "flops_any": 0.5,
        "mem_bw": 0.5,
        "mem_used": 9.0,
        "cpu_power": 90.0,
        "vectorization_ratio": 1.0,
    }
    low |= more
    rows = {name: {host: steady(value, slots) for host in HOSTS} for name, value in low.items()}
    rows["cpu_load"][HOSTS[3]] = steady(90.0, slots)
    data = make_data(**rows)
    for by_scope in data.values():
        for metric in by_scope.values():
            metric.timestep_s = step_s
    return data


@pytest.mark.parametrize(("slots", "step_s"), [(1, 60), (4, 60), (59, 5), (2, 600)])
def test_a_few_samples_accuse_nobody(judge: Judge, make_data: Callable[..., JobData], slots: int, step_s: int) -> None:
    found = judge(early(make_data, slots, step_s), hosts=HOSTS, footprint=None, duration=slots * step_s)
    assert (found.level, found.problems) == (None, [])
    assert [finding.code for finding in found.findings] == [FindingCode.TOO_SHORT]
    assert {item.level for item in found.footprint} == {None}


@pytest.mark.parametrize(("slots", "step_s"), [(5, 60), (60, 5), (3, 600)])
def test_five_minutes_and_three_samples_are_enough(
    judge: Judge, make_data: Callable[..., JobData], slots: int, step_s: int
) -> None:
    found = judge(early(make_data, slots, step_s), hosts=HOSTS, footprint=None, duration=slots * step_s)
    assert found.level is Level.ALERT
    assert FindingCode.TOO_SHORT not in [finding.code for finding in found.findings]


def test_a_job_too_short_to_judge_says_so(judge: Judge, make_data: Callable[..., JobData]) -> None:
    (told,) = words(judge(early(make_data, 1), duration=59, footprint=None))
    assert (told.level, told.headline) == (Level.OK, "Too short to judge.")
    assert told.detail == "It ran 59 s and has 1 sample. A verdict takes 5 min and 3 samples."
    (told,) = words(judge(duration=40, footprint=RECORD))
    assert told.detail == "It ran 40 s and has 0 samples. A verdict takes 5 min and 3 samples."


def test_a_running_job_says_that_it_is_too_early(judge: Judge, make_data: Callable[..., JobData]) -> None:
    found = judge(early(make_data, 2), state=JobState.RUNNING, duration=100, footprint=None)
    (told,) = words(found, running=True)
    assert told.headline == "Too early to judge."
    assert told.detail == "It has run 1 min and has 2 samples so far. A verdict takes 5 min and 3 samples."


def test_a_long_job_of_which_little_is_left_has_too_few_samples(
    judge: Judge, make_data: Callable[..., JobData]
) -> None:
    found = judge(early(make_data, 2), footprint=None)
    assert found.level is not Level.ALERT
    assert "Too few samples to judge." in [told.headline for told in words(found)]


def test_a_limit_that_was_reached_is_told_however_soon(judge: Judge, make_data: Callable[..., JobData]) -> None:
    found = judge(early(make_data, 1, mem_used=381.0), duration=60, footprint=None)
    assert found.level is Level.ALERT
    assert [finding.metric for finding in found.problems] == ["mem_used"]


def test_what_comes_too_seldom_for_a_short_job_is_named(judge: Judge, make_data: Callable[..., JobData]) -> None:
    data = make_data(cpu_load={"tn0001": steady(94.0, 11)}, mem_bw={"tn0001": steady(1.0, 2)})
    data["mem_bw"][Scope.NODE].timestep_s = 600
    found = judge(data, duration=660, footprint=None, hosts=("tn0001",))
    assert "mem_bw" not in [finding.metric for finding in found.problems]
    assert words(found)[-1].headline.endswith("Too few samples to judge: bandwidth.")


# How it ended


@pytest.mark.parametrize(
    ("state", "level", "headline"),
    [
        (JobState.FAILED, Level.CAUTION, "Failed after 1 min of 2 h."),
        (JobState.NODE_FAIL, Level.CAUTION, "A node failed after 1 min of 2 h."),
        (JobState.BOOT_FAIL, Level.CAUTION, "Its nodes did not start."),
        (JobState.OUT_OF_MEMORY, Level.ALERT, "Ran out of memory after 1 min of 2 h."),
        (JobState.DEADLINE, Level.CAUTION, "Ended at its deadline, after 1 min of 2 h."),
        (JobState.TIMEOUT, Level.CAUTION, "Ended at its time limit of 2 h."),
        (JobState.CANCELLED, None, "Cancelled after 1 min of 2 h."),
        (JobState.PREEMPTED, None, "Made room for another job after 1 min of 2 h."),
    ],
)
def test_how_a_job_ended_is_a_finding(judge: Judge, state: JobState, level: Level | None, headline: str) -> None:
    found = judge(state=state, duration=60, walltime=7200)
    assert found.level is level
    assert words(found)[0].headline == headline


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.RUNNING])
def test_a_job_that_ended_well_or_runs_has_no_such_finding(judge: Judge, state: JobState) -> None:
    assert judge(state=state).problems == []


def test_a_short_job_that_failed_is_not_ok_though_nothing_could_be_judged(judge: Judge) -> None:
    found = judge(state=JobState.FAILED, duration=60, footprint=None)
    assert found.level is Level.CAUTION
    assert words(found)[0].headline == "Failed after 1 min."


def test_a_job_that_could_not_be_judged_and_was_cancelled_is_not_judged(judge: Judge) -> None:
    found = judge(state=JobState.CANCELLED, footprint=None)
    assert found.level is None
    assert found.to_judgement(now_s=5) == Judgement(None, found.findings[0], 0, 5, RULES_VERSION)


def test_out_of_memory_tells_how_much_of_how_much_where(judge: Judge, make_data: Callable[..., JobData]) -> None:
    data = make_data(mem_used={"tn0001": steady(100.0), "tn0002": [100.0] * 100 + [381.0] * 21})
    found = judge(data, state=JobState.OUT_OF_MEMORY, footprint={**RECORD, "mem_used_max": 381.0})
    assert words(found)[0].detail.startswith("Memory reached 381 of 384 GB on tn0002. ")
    assert [finding.code for finding in found.problems].count(FindingCode.METRIC_LEVEL) == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("JobId=1\n ExitCode=2:0 x", "2"),
        ("ExitCode=0:9", "0, signal 9"),
        ("ExitCode=1:11", "1, signal 11"),
        ("ExitCode=0:0", ""),
        ("DerivedExitCode=3:0", ""),
        ("", ""),
    ],
)
def test_the_exit_code_is_read_where_the_scheduler_told_it(make_job: Callable[..., Job], text: str, code: str) -> None:
    assert parse_exit_code(make_job(meta_data={"slurmInfo": text})) == code
    assert parse_exit_code(make_job(meta_data=None)) == ""


def test_the_exit_code_stands_in_the_finding(judge: Judge) -> None:
    found = judge(state=JobState.FAILED, meta_data={"slurmInfo": "ExitCode=2:0"})
    assert words(found)[0].detail.startswith("Its exit code is 2. ")


def test_a_restricted_metric_is_no_part_of_the_judgement(
    judge: Judge, make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    bad = {**RECORD, "flops_any_avg": 1.0}
    assert judge(footprint=bad).level is Level.ALERT
    secret = {name: replace(config, restrict=name == "flops_any") for name, config in tarn["main"].metrics.items()}
    metrics = judged_metrics(secret)
    assert "flops_any" not in metrics
    found = assess_job(make_job(footprint=bad), JobCurveSet({}), tarn["main"], metrics)
    assert found.level is Level.OK
    assert "flops_any" not in repr(found.findings)


# What is kept


def test_worst_comes_first_and_what_is_in_order_last(judge: Judge, make_data: Callable[..., JobData]) -> None:
    bad = {**RECORD, "cpu_load_avg": 10.0, "flops_any_avg": 200.0, "mem_bw_avg": 450.0}
    found = judge(footprint=bad, state=JobState.FAILED)
    assert [finding.level for finding in found.findings] == [Level.ALERT, *[Level.CAUTION] * 2, Level.HIGH, Level.OK]
    assert found.findings[-1].code == FindingCode.NOTHING_FOUND
    kept = found.to_judgement(now_s=9)
    assert (kept.level, kept.finding, kept.more) == (Level.ALERT, found.findings[0], 3)


def test_of_many_nodes_the_first_names_are_kept_and_the_count(judge: Judge, make_data: Callable[..., JobData]) -> None:
    hosts = tuple(f"n{i:03d}" for i in range(100))
    found = judge(idle_data(make_data, idle=hosts[50:], hosts=hosts), hosts=hosts)
    kept = found.to_judgement(now_s=1).finding
    assert kept is not None
    assert (len(kept.hosts), kept.node_count) == (MAX_STORED_HOSTS, 50)
    assert finding_text(kept, SentenceContext(False, START_S, UTC)).headline == "50 of 100 nodes did nothing at all."  # noqa: FBT003


def test_a_finding_comes_back_from_json_and_reads_the_same(judge: Judge, make_data: Callable[..., JobData]) -> None:
    data = idle_data(make_data, idle=["bn08"], hosts=HOSTS[:4] + HOSTS[7:8])
    found = judge(data, hosts=HOSTS[:4] + HOSTS[7:8], state=JobState.FAILED, footprint={**RECORD, "mem_bw_avg": 9.0})
    for finding in found.findings:
        back = finding_from_json(finding_to_json(finding))
        assert back is not None
        context = SentenceContext(running=False, now_s=START_S, zone=UTC)
        assert finding_text(back, context) == finding_text(finding, context)


def test_a_rule_that_this_program_does_not_know_is_nothing() -> None:
    assert finding_from_json({"code": "from_the_future", "level": "alert"}) is None


def test_a_number_that_json_cannot_hold_is_not_kept() -> None:
    document = finding_to_json(
        Finding(FindingCode.TOO_SHORT, Level.OK, facts={"a": float("nan"), "b": float("inf"), "c": 1})
    )
    assert document["facts"] == {"a": None, "b": None, "c": 1}


def test_the_nodes_of_the_plots_are_those_of_the_assessment(
    judge: Judge, make_job: Callable[..., Job], make_data: Callable[..., JobData], tarn: Mapping[str, SubCluster]
) -> None:
    data = idle_data(make_data, idle=["bn08"])
    found = judge(data, hosts=HOSTS)
    assert find_outlier_nodes(make_job(hosts=HOSTS), JobCurveSet(data), tarn["main"]) == found.outliers


def test_a_job_whose_samples_cannot_be_read_keeps_its_verdict(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    finding = Finding(FindingCode.NOT_MEASURED, Level.ARTEFACT, facts={"metrics": ["cpu_load"]})
    job = make_job(footprint=RECORD, judgement=Judgement(Level.ARTEFACT, finding, judged_s=1))
    found = stored_assessment(job, tarn["main"])
    assert (found.level, found.findings) == (Level.ARTEFACT, (finding,))
    assert stored_assessment(make_job(), tarn["main"]).level is None


def test_a_node_that_never_sent_does_not_make_the_others_look_idle(
    judge: Judge, make_data: Callable[..., JobData]
) -> None:
    # the record counts it as zero, as the reference does: 47 of 96 would be a caution, with hours that nobody lost
    data = make_data(cpu_load={"tn0001": steady(94.0)})
    found = judge(data, hosts=("tn0001", "tn0002"), footprint={"cpu_load_avg": 47.0})
    assert {finding.code for finding in found.problems} == {FindingCode.NOT_MEASURED}
    assert next(item.value for item in found.footprint if item.metric == "cpu_load") == pytest.approx(94.0)
