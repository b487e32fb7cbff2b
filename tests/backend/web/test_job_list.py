from collections.abc import Callable, Mapping
from datetime import UTC

import numpy as np
import pytest

from cc_backend.clusters import SubCluster
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.model import Finding, Job, JobData, JobState, Judgement, Level, MonitoringStatus
from cc_backend.web.job_list import ListRow, build_list_heads, build_row
from cc_backend.web.previews import Preview, PreviewCache, choose_row_metrics, make_preview, most_common_metrics

METRICS = ["cpu_load", "flops_any"]
GOOD = {"cpu_load_avg": 95.0, "flops_any_avg": 900.0, "mem_bw_avg": 200.0, "mem_used_max": 100.0}
GOOD |= {"vectorization_ratio_avg": 55.0, "cpu_power_avg": 500.0}


def preview(*values: float) -> Preview:
    mean = float(np.mean(values))
    return Preview(np.array(values), mean, max(values), mean)


@pytest.fixture
def row(make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]) -> Callable[..., ListRow]:
    def make(previews: Mapping[str, Preview | None] | None = None, **changes: object) -> ListRow:
        job = make_job(**{"footprint": GOOD, **changes})
        return build_row(
            job, tarn["main"], previews, METRICS if previews else [], now_s=job.start_time + 7200, zone=UTC
        )

    return make


def test_a_row_says_who_where_and_how_large(row: Callable[..., ListRow]) -> None:
    found = row()
    assert (found.number, found.name, found.user, found.project) == ("4711", "relax", "mlindq", "chem-102")
    assert (found.place, found.size, found.ran) == ("tarn/main", "2 nodes · 192 cores", "2 h 00 min")


def test_a_shared_node_and_gpus_are_told(row: Callable[..., ListRow]) -> None:
    assert row(shared="multi_user", hosts=("tn0001",), num_hwthreads=16).size == "1 node, shared · 16 cores"
    assert row(num_acc=8).size == "2 nodes · 8 GPUs"


def test_pending_is_called_waiting(row: Callable[..., ListRow]) -> None:
    assert row(state=JobState.PENDING).state_word == "Waiting"


LOW = Finding(
    "metric_level", Level.ALERT, "cpu_load",
    facts={"kind": "low", "value": 10.0, "unit": "", "edge": 60.0, "peak": 96.0, "statistic": "avg", "share": 0.0},
)  # fmt: skip


def test_a_row_shows_the_judgement_that_is_kept_with_the_job(row: Callable[..., ListRow]) -> None:
    found = row(judgement=Judgement(Level.ALERT, LOW, more=2, judged_s=1))
    assert (found.level, found.finding, found.more) == (Level.ALERT, "CPU load is very low: 10.0 of 96.", 2)


def test_a_preview_is_judged_by_the_share_of_the_node_that_a_job_has(row: Callable[..., ListRow]) -> None:
    previews = {"cpu_load": preview(95.0, 95.0), "flops_any": preview(100.0, 100.0)}
    quarter = {"hosts": ("tn0001",), "num_hwthreads": 24}
    assert [cell.level for cell in row(previews, **quarter).cells] == [Level.OK, Level.CAUTION]
    assert [cell.level for cell in row(previews, shared="multi_user", **quarter).cells] == [Level.OK, Level.OK]


def test_a_job_without_a_judgement_is_not_judged_whatever_its_footprint_says(row: Callable[..., ListRow]) -> None:
    assert (row().level, row().finding) == (None, "")


def test_a_metric_that_was_not_measured_is_hatched_and_says_so(row: Callable[..., ListRow]) -> None:
    cells = row({"cpu_load": preview(95, 96), "flops_any": None}).cells
    assert [cell.measured for cell in cells] == [True, False]
    assert "gap" in cells[1].figure


def test_a_job_of_a_cluster_nobody_knows_still_has_a_row(make_job: Callable[..., Job]) -> None:
    found = build_row(make_job(cluster="gone"), None, {}, METRICS, now_s=0, zone=UTC)
    assert found.level is None
    assert not any(cell.measured for cell in found.cells)


def test_a_cell_without_samples_tells_a_metric_that_these_nodes_do_not_have(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    metrics = ["flops_any", "acc_power"]
    found = build_row(make_job(), tarn["main"], dict.fromkeys(metrics), metrics, now_s=0, zone=UTC)
    assert [cell.absent for cell in found.cells] == ["not measured", "not on these nodes"]


def test_the_preview_is_the_mean_of_all_nodes(make_data: Callable[..., JobData]) -> None:
    data = make_data(cpu_load={"a": [1, 2, float("nan")], "b": [3, float("nan"), float("nan")]})
    found = make_preview(JobCurveSet(data), "cpu_load")
    assert found is not None
    np.testing.assert_array_equal(found.values, [2, 2, float("nan")])
    assert (found.mean, found.maximum) == (2.25, 3)


def test_no_samples_make_no_preview(make_data: Callable[..., JobData]) -> None:
    assert make_preview(JobCurveSet(make_data(cpu_load={"a": [float("nan")]})), "cpu_load") is None
    assert make_preview(JobCurveSet({}), "cpu_load") is None


def test_the_row_of_a_gpu_job_shows_its_gpus_whatever_else_is_in_the_list(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    gpu = choose_row_metrics(make_job(num_acc=4), tarn["gpu"], tarn["gpu"].metrics)
    main = choose_row_metrics(make_job(), tarn["main"], tarn["main"].metrics)
    assert gpu[0] == "acc_utilization"
    assert main == ("cpu_load", "flops_any", "mem_bw", "mem_used")
    assert most_common_metrics([main, gpu, main]) == main
    assert most_common_metrics([gpu]) == gpu


def test_a_row_shows_no_metric_that_its_nodes_lack_or_the_reader_may_not_see(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    sub = tarn["main"]
    assert "acc_utilization" not in choose_row_metrics(make_job(num_acc=4), sub, sub.metrics)
    seen = choose_row_metrics(make_job(), sub, set(sub.metrics) - {"flops_any"})
    assert "flops_any" not in seen
    assert len(seen) == 4


def test_a_row_of_its_own_shows_the_worst_metric_first_and_marks_it(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    previews = {"cpu_load": preview(20, 20), "acc_utilization": preview(1, 1), "mem_bw": preview(300, 300)}
    metrics = ("cpu_load", "mem_bw", "acc_utilization")
    job = make_job(num_acc=4)
    own = build_row(job, tarn["gpu"], previews, metrics, heads=("cpu_load",), now_s=0, zone=UTC)
    assert own.own
    assert own.cells[0].metric == "acc_utilization"
    assert [cell.worst for cell in own.cells] == [True, False, False]
    same = build_row(job, tarn["gpu"], previews, metrics, heads=metrics, now_s=0, zone=UTC)
    assert not same.own
    assert [cell.metric for cell in same.cells] == list(metrics)


def test_a_column_has_a_unit_when_all_rows_share_it(tarn: Mapping[str, SubCluster]) -> None:
    heads = build_list_heads(["mem_bw", "nothing"], [tarn["main"], None])
    assert [(head.name, head.unit) for head in heads] == [("Memory bandwidth", "GB/s"), ("Nothing", "")]


def test_previews_of_archived_jobs_are_kept_and_of_others_not(make_job: Callable[..., Job]) -> None:
    cache = PreviewCache(most=2)
    archived, open_job = make_job(), make_job(id=8, monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)
    cache.put(archived, {"cpu_load": None})
    cache.put(open_job, {"cpu_load": None})
    assert cache.get(archived, ["cpu_load"]) == {"cpu_load": None}
    assert cache.get(archived, ["cpu_load", "mem_bw"]) is None
    assert cache.get(open_job, ["cpu_load"]) is None


def test_a_preview_is_that_of_the_job_whatever_row_it_has(make_job: Callable[..., Job]) -> None:
    """In a backup that took the place of the database the same row may be another job's, of the same start."""
    cache = PreviewCache(most=2)
    cache.put(make_job(id=7, job_id=1), {"cpu_load": None})
    assert cache.get(make_job(id=7, job_id=2), ["cpu_load"]) is None
    assert cache.get(make_job(id=9, job_id=1), ["cpu_load"]) is not None


def test_the_cache_forgets_what_was_longest_unused(make_job: Callable[..., Job]) -> None:
    cache = PreviewCache(most=2)
    for id_ in (1, 2):
        cache.put(make_job(job_id=id_), {"a": None})
    cache.get(make_job(job_id=1), ["a"])
    cache.put(make_job(job_id=3), {"a": None})
    assert cache.get(make_job(job_id=1), ["a"]) is not None
    assert cache.get(make_job(job_id=2), ["a"]) is None
