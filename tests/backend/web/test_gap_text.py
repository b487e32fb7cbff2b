from datetime import UTC

from cc_backend.metricstore.gaps.reasons import JobGaps
from cc_backend.model import DataGap, GapReason
from cc_backend.web.gap_text import common_missing_reason, missing_reasons, plot_reasons

START_S = 1_760_000_400  # 09:00 UTC


def absence(why: GapReason, begin: int, end: int, *hosts: str, **more: object) -> DataGap:
    return DataGap(why, hosts, START_S + 60 * begin, START_S + 60 * end, **more)  # type: ignore[arg-type]  # by name


SILENT = absence(GapReason.HOST_SILENT, 0, 20, "n1")
NEVER = absence(GapReason.METRIC_NEVER_SEEN_ON_HOST, 0, 120, "n2")


def test_below_a_plot_stands_what_is_so_for_its_metric_alone() -> None:
    absences = JobGaps({"flops_any": (SILENT, NEVER), "mem_bw": (SILENT,)})
    assert plot_reasons(absences, "flops_any", has_gaps=True, zone=UTC) == (
        "n2 sent other metrics, but never flop rate.",
    )
    at_nine = JobGaps(absences.metrics, now_s=START_S)
    assert plot_reasons(at_nine, "mem_bw", has_gaps=True, zone=UTC) == ("n1 sent nothing from 09:00 to 09:20.",)
    assert plot_reasons(absences, "mem_bw", has_gaps=False, zone=UTC) == ()
    assert plot_reasons(absences, "cpu_load", has_gaps=True, zone=UTC) == ()


def test_metrics_without_a_plot_are_grouped_by_their_reason() -> None:
    no_gpu = absence(GapReason.JOB_HAS_NO_SUCH_HARDWARE, 0, 1)
    absences = JobGaps({"flops_any": (NEVER,), "mem_bw": (SILENT, NEVER), "acc_power": (no_gpu,)})
    assert missing_reasons(absences, ["flops_any", "acc_power", "mem_bw", "ipc"], zone=UTC) == (
        ("Flop rate, Memory bandwidth", "n2 sent other metrics, but never these."),
        ("GPU power", "This job has no GPU of which GPU power could be measured."),
        ("Instructions per cycle", ""),
    )
    assert (
        common_missing_reason(absences, ["flops_any", "mem_bw"], zone=UTC) == "n2 sent other metrics, but never these."
    )
    assert common_missing_reason(absences, ["flops_any", "ipc"], zone=UTC) == ""
