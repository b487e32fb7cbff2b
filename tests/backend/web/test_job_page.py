from collections.abc import Callable, Mapping
from datetime import UTC

import numpy as np
import orjson
import pytest

from cc_backend.clusters import SubCluster
from cc_backend.insight.assessment import assess_job, judged_metrics
from cc_backend.insight.footprint import footprint_values
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.insight.threshold_share import scope_factor, share_of_node
from cc_backend.metricstore.gaps.reasons import NO_GAPS, JobGaps
from cc_backend.model import (
    DataGap,
    GapReason,
    Job,
    JobData,
    JobMetric,
    JobState,
    Level,
    MetricUnit,
    MonitoringStatus,
    SampleSeries,
    Scope,
)
from cc_backend.web.job_page import JobPageView, PageOptions, build_job_page
from cc_backend.web.job_plots import (
    available_scopes,
    choose_scope,
    plots_to_json,
    round_to_five_digits,
)
from cc_backend.web.statistics_table import sort_naturally

NAN = float("nan")
START_S = 1_760_000_400
HOSTS = tuple(f"tn{i:04d}" for i in range(1, 17))


@pytest.fixture
def page(make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]) -> Callable[..., JobPageView]:
    def make(
        data: JobData, options: PageOptions | None = None, gaps: JobGaps = NO_GAPS, **changes: object
    ) -> JobPageView:
        sub = tarn["main"]
        chosen = options or PageOptions()
        job, curves = make_job(**changes), JobCurveSet(data)
        metrics = judged_metrics(sub.metrics)
        assessment = assess_job(job, curves.select_nodes_and_gpus(metrics), sub, metrics, gaps=gaps)
        return build_job_page(
            job,
            curves,
            assessment,
            sub,
            sub.metrics,
            options=chosen,
            zone=UTC,
            now_s=START_S,
            gaps=gaps,
        )

    return make


def idle_nodes_data(make_data: Callable[..., JobData]) -> JobData:
    rows = {host: [95.0] * 60 if i < 12 else [95.0] * 20 + [0.5] * 40 for i, host in enumerate(HOSTS)}
    return make_data(cpu_load=rows, flops_any={host: [900.0] * 60 for host in HOSTS})


def test_the_page_has_a_plot_for_each_measured_metric_and_names_the_others(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    found = page(make_data(cpu_load={"tn0001": [95, 95]}, net_bw={"tn0001": [1e9, 2e9]}))
    assert [plot.metric for plot in found.plots] == ["cpu_load", "net_bw"]
    assert "Flop rate" in found.missing


def test_values_come_in_the_prefix_that_reads_well(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    (plot,) = page(make_data(net_bw={"tn0001": [1e9, 2e9]})).plots
    assert plot.unit == "MB/s"
    assert dict(plot.readout)["max"] == "2\u202f000"


def test_nodes_that_part_from_the_rest_are_a_finding_and_sort_the_table(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    found = page(idle_nodes_data(make_data), hosts=HOSTS)
    assert found.summary.findings[0].headline == "4 of 16 nodes did nothing from 09:19 on."
    assert found.table.sorted_by == "cpu_load"
    assert {row.label for row in found.table.rows[:4]} == set(HOSTS[12:])
    assert found.table.rows[0].cells[0] is not None
    assert found.table.rows[0].cells[0].level is Level.CAUTION


def test_an_order_that_was_chosen_stays(page: Callable[..., JobPageView], make_data: Callable[..., JobData]) -> None:
    found = page(idle_nodes_data(make_data), PageOptions(sort="name"), hosts=HOSTS)
    assert [row.label for row in found.table.rows] == list(HOSTS)
    found = page(idle_nodes_data(make_data), PageOptions(sort="cpu_load", descending=True), hosts=HOSTS)
    assert {row.label for row in found.table.rows[-4:]} == set(HOSTS[12:])


def test_a_silence_with_a_known_cause_replaces_the_guess_from_the_curves(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    data = make_data(cpu_load={"tn0001": [95.0] * 60, "tn0002": [95.0] * 30 + [NAN] * 30})
    silent = DataGap(GapReason.HOST_SILENT, ("tn0002",), START_S + 1800, START_S + 3600)
    never = DataGap(GapReason.METRIC_NEVER_SEEN_ON_HOST, ("tn0001", "tn0002"), START_S, START_S + 3600)
    gaps = JobGaps({"cpu_load": (silent,), "flops_any": (never,)}, (silent,))
    found = page(data, gaps=gaps, duration=3600)
    headlines = [finding.headline for finding in found.summary.findings]
    assert "The agent on tn0002 was silent for 30 of 60 min." in headlines
    assert not any("No samples" in headline or "No data" in headline for headline in headlines)
    assert found.summary.checks[-1].level is Level.ARTEFACT
    assert found.reasons["cpu_load"] == ()
    assert ("Flop rate", "tn[0001-0002] sent other metrics, but never flop rate.") in found.missing_why


def test_below_a_plot_with_a_gap_stands_why(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    data = make_data(cpu_load={"tn0001": [95.0] * 20 + [NAN] * 20 + [95.0] * 20})
    silent = DataGap(GapReason.STORE_DOWN, (), START_S + 1200, START_S + 2400)
    found = page(data, gaps=JobGaps({"cpu_load": (silent,)}, (silent,), START_S))
    assert found.reasons["cpu_load"] == ("The metric store did not run from 09:20 to 09:40.",)


def test_nodes_that_end_a_few_samples_apart_are_not_silent(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    found = page(make_data(cpu_load={"tn0001": [95.0] * 60, "tn0002": [95.0] * 57})).summary
    assert not any("No samples" in finding.headline for finding in found.findings)


def test_each_scope_has_its_share_of_a_summed_threshold(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    sub = tarn["main"]
    job = make_job()
    assert scope_factor(job, sub.metrics["flops_any"], Scope.SOCKET, sub) == 0.5
    assert scope_factor(job, sub.metrics["flops_any"], Scope.NODE, sub) == 1
    assert scope_factor(job, sub.metrics["ipc"], Scope.SOCKET, sub) == 1
    shared = make_job(shared="multi_user", hosts=("tn0001",), num_hwthreads=24)
    assert scope_factor(shared, sub.metrics["flops_any"], Scope.NODE, sub) == 0.25
    assert scope_factor(shared, sub.metrics["mem_used"], Scope.NODE, sub) == 1


def test_on_shared_nodes_the_limit_of_a_highest_value_shrinks(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    sub = tarn["main"]
    job = make_job(shared="multi_user", hosts=("tn0001",), num_hwthreads=24, footprint={"mem_used_max": 80.0})
    assert share_of_node(job, 96) == 0.25
    items = {item.metric: item for item in footprint_values(job, sub.metrics, node_threads=96)}
    assert items["mem_used"].level is Level.CAUTION
    assert items["cpu_load"].thresholds.peak == 96


def test_on_shared_nodes_a_sum_over_the_own_threads_is_held_against_their_share_of_the_node(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    sub = tarn["main"]
    quarter = {"flops_any_avg": 0.25 * 350, "cpu_load_avg": 90.0}  # a whole node is healthy from 300 on
    for shared, level in (("multi_user", Level.OK), ("none", Level.CAUTION)):
        job = make_job(shared=shared, hosts=("tn0001",), num_hwthreads=24, footprint=quarter)
        items = {item.metric: item for item in footprint_values(job, sub.metrics, node_threads=96)}
        assert items["flops_any"].level is level
        assert items["cpu_load"].thresholds.peak == 96


def test_a_running_job_is_judged_by_its_samples_and_a_finished_one_by_its_record(
    make_job: Callable[..., Job], make_data: Callable[..., JobData], tarn: Mapping[str, SubCluster]
) -> None:
    data = make_data(cpu_load={"tn0001": [20, 20], "tn0002": [30, 30]})
    record = {"cpu_load_avg": 95.0}
    finished = footprint_values(make_job(footprint=record), tarn["main"].metrics, JobCurveSet(data))
    running = footprint_values(
        make_job(footprint=record, state=JobState.RUNNING), tarn["main"].metrics, JobCurveSet(data)
    )
    assert next(item.value for item in finished if item.metric == "cpu_load") == 95
    assert next(item.value for item in running if item.metric == "cpu_load") == 25


def test_the_nearest_coarser_scope_stands_in(make_data: Callable[..., JobData]) -> None:
    metric = JobMetric(MetricUnit("W"), 60)
    assert choose_scope({Scope.NODE: metric, Scope.SOCKET: metric}, Scope.CORE) is Scope.SOCKET
    assert choose_scope({Scope.CORE: metric}, Scope.NODE) is Scope.CORE
    assert choose_scope({}, Scope.NODE) is None


def test_scopes_are_offered_as_far_as_curves_stay_readable(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    sub = tarn["main"]
    running = {"state": JobState.RUNNING, "monitoring_status": MonitoringStatus.RUNNING_OR_ARCHIVING}
    assert Scope.CORE in available_scopes(make_job(**running), sub, sub.metrics)
    assert Scope.CORE not in available_scopes(make_job(num_nodes=64, **running), sub, sub.metrics)


def test_an_archived_job_offers_the_scopes_its_file_has(
    make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]
) -> None:
    sub = tarn["main"]
    by_scope = {
        scope: JobMetric(MetricUnit(""), 60, [SampleSeries("a", np.ones(2, np.float32))])
        for scope in (Scope.NODE, Scope.CORE)
    }
    assert available_scopes(make_job(), sub, sub.metrics, {"ipc": by_scope}) == [Scope.NODE, Scope.CORE]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"monitoring_status": MonitoringStatus.DISABLED}, "was not monitored"),
        ({"monitoring_status": MonitoringStatus.ARCHIVING_FAILED}, "could not be archived"),
        ({"state": JobState.RUNNING, "monitoring_status": 1}, "No samples have come in"),
        ({}, "There are no samples"),
    ],
)
def test_a_job_without_samples_says_why(
    page: Callable[..., JobPageView], changes: dict[str, object], words: str
) -> None:
    never = DataGap(GapReason.HOST_NEVER_SEEN, ("tn0001",), START_S, START_S + 3600)
    found = page({}, gaps=JobGaps({"ipc": (never,)}, (never,)), **changes)
    assert words in found.data_note
    said = [found.data_note, *(f"{finding.headline} {finding.detail}" for finding in found.summary.findings)]
    assert " ".join(said).count("tn0001 never sent anything.") == 1
    assert found.plots == ()


def test_the_record_shows_script_scheduler_and_whatever_the_site_adds(page: Callable[..., JobPageView]) -> None:
    meta = {"jobName": "a", "jobScript": "#!/bin/sh", "slurmInfo": "JobId=1", "message": "see me", "queueNote": "x"}
    found = page({}, meta_data=meta)
    assert found.record.texts == (("Job script", "#!/bin/sh"), ("Slurm", "JobId=1"), ("queueNote", "x"))
    assert found.record.note == "see me"


def test_the_document_of_the_canvas_says_what_the_picture_says(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    found = page(idle_nodes_data(make_data), hosts=HOSTS)
    document = plots_to_json(found.job, found.plots, UTC, clock=False)
    plot = document["plots"]["cpu_load"]
    assert [line["label"] for line in plot["lines"]] == [*HOSTS[12:], "median"]
    assert plot["label"][1] == "tn0013 to tn0016"
    assert [level for level, _ in plot["thresholds"]] == ["high", "caution", "alert"]
    assert plot["ticks"][0] == 0
    assert document["offsets"] == [(START_S, 0)]
    assert document["absences"] == {}
    never = JobGaps({"ipc": (DataGap(GapReason.METRIC_NEVER_SEEN, (), 60, 120),)})
    assert plots_to_json(found.job, found.plots, UTC, clock=False, gaps=never)["absences"] == {
        "ipc": [
            {
                "reason": "metric_never_seen",
                "hosts": [],
                "from": 60,
                "to": 120,
                "ongoing": False,
                "text": "No node of this cluster sends ipc.",
            }
        ]
    }


def test_numbers_of_the_document_have_five_digits_and_gaps() -> None:
    numbers = round_to_five_digits(np.array([1.23456789, NAN, 123456.789, 0.0, -0.000123456, 1e39]))
    assert orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY) == b"[1.2346,null,123460.0,0.0,-0.00012346,null]"


def test_names_with_numbers_are_sorted_by_the_numbers() -> None:
    assert sort_naturally(["core 10", "core 2", "core 1", "tn0002", "tn0001"]) == [
        "core 1",
        "core 2",
        "core 10",
        "tn0001",
        "tn0002",
    ]


def test_metrics_in_which_nothing_happened_are_told_in_one_line(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    rows = {"tn0001": [0.0] * 60, "tn0002": [0.0] * 60}
    found = page(make_data(cpu_load={"tn0001": [95.0] * 60}, file_bw=rows, net_bw=rows, flops_any=rows))
    assert {plot.metric for plot in found.quiet} == {"file_bw", "net_bw"}
    assert {plot.metric for plot in found.plots} == {"cpu_load", "flops_any"}  # a flop rate of zero is judged
    alone = page(make_data(net_bw=rows))
    assert (len(alone.plots), alone.quiet) == (1, ())


def test_a_job_that_hangs_lights_its_cell_as_its_verdict_is(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    def fell(value: float) -> list[float]:
        return [value] * 40 + [value / 1000] * 60

    data = make_data(flops_any={"tn0001": fell(900.0)}, mem_bw={"tn0001": fell(300.0)})
    found = page(data, hosts=("tn0001",), footprint={"flops_any_avg": 360.0, "mem_bw_avg": 120.0}, duration=6000)
    assert found.summary.findings[0].headline.startswith("Nothing was computed")
    assert {check.word: check.level for check in found.summary.checks}["Flops"] is Level.ALERT


def test_curves_of_different_steps_stand_on_one_axis(
    page: Callable[..., JobPageView], make_job: Callable[..., Job]
) -> None:
    def metric(step_s: int, count: int) -> JobMetric:
        return JobMetric(MetricUnit(""), step_s, [SampleSeries("tn0001", np.full(count, 50.0, np.float32))])

    found = page({"cpu_load": {Scope.NODE: metric(30, 4)}, "ipc": {Scope.NODE: metric(60, 2)}}, hosts=("tn0001",))
    ends = {plot.metric: plot.svg.split('class="ln" d="')[1].split('"')[0].split("L")[-1] for plot in found.plots}
    assert {name: end.split()[0] for name, end in ends.items()} == {"cpu_load": "1000", "ipc": "666.7"}
    document = plots_to_json(make_job(), found.plots, UTC, clock=False)
    assert document["length"] == 90


def test_idle_gpus_are_shown_in_the_plot_of_gpus(make_job: Callable[..., Job], tarn: Mapping[str, SubCluster]) -> None:
    def metric(rows: Mapping[str, float], gpu: str | None = None) -> JobMetric:
        series = [SampleSeries("tg001", np.full(100, value, np.float32), name or gpu) for name, value in rows.items()]
        return JobMetric(MetricUnit("%"), 60, series)

    data = {"acc_utilization": {Scope.NODE: metric({"": 60.0}), Scope.ACCELERATOR: metric({"a": 90.0, "b": 0.0})}}
    job, sub, curves = make_job(hosts=("tg001",), num_acc=2, duration=6000), tarn["gpu"], JobCurveSet(data)
    metrics = judged_metrics(sub.metrics)
    found = assess_job(job, curves.select_nodes_and_gpus(metrics), sub, metrics)
    shown = build_job_page(job, curves, found, sub, sub.metrics, options=PageOptions(), zone=UTC, now_s=START_S)
    first = shown.summary.findings[0]
    assert (first.headline, first.link) == ("1 of 2 GPUs did nothing at all.", "?scope=accelerator#m-acc_utilization")


def test_the_plot_of_a_metric_is_judged_by_the_statistic_of_its_footprint(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData], tarn: Mapping[str, SubCluster]
) -> None:
    assert tarn["main"].metrics["mem_used"].footprint == "max"
    peak = tarn["main"].metrics["mem_used"].peak
    rows = {"tn0001": [peak * share for share in np.linspace(0.1, 0.999, 60)]}  # its mean is healthy
    found = page(make_data(mem_used=rows), hosts=("tn0001",), footprint=None, duration=3600)
    (gauge,) = [gauge for gauge in found.summary.gauges if gauge.level]
    (plot,) = [plot for plot in found.plots if plot.metric == "mem_used"]
    assert plot.level is plot.figure.level is gauge.level is Level.ALERT


def test_of_a_job_too_short_to_judge_nothing_is_lit(
    page: Callable[..., JobPageView], make_data: Callable[..., JobData]
) -> None:
    found = page(make_data(cpu_load={"tn0001": [2.0]}, mem_bw={"tn0001": [0.5]}), duration=60)
    assert found.summary.level is None
    assert {check.level for check in found.summary.checks if check.word != "Data"} == {None}
    assert {gauge.level for gauge in found.summary.gauges} == {None}
    assert {plot.level for plot in found.plots} == {plot.figure.level for plot in found.plots} == {None}
    assert {cell.level for row in found.table.rows for cell in row.cells if cell} == {None}
