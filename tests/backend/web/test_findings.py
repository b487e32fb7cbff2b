import pytest

from cc_backend.insight.footprint import Footprint
from cc_backend.insight.rating import Scale
from cc_backend.model import Level
from cc_backend.web.findings import checks_of, findings_of

HIGHER = Scale(6144, 2400, 300, 80)
LOWER = Scale(384, 200, 300, 350, lower_is_better=True)
LOAD = Scale(8, 8, 4, 2, can_exceed_peak=True)


@pytest.mark.parametrize(
    ("item", "headline", "part"),
    [
        (Footprint("flops_any", "avg", 276.0, "GFlop/s", HIGHER), "Flop rate is low.", "276 GFlop/s per node"),
        (Footprint("flops_any", "avg", 20.0, "GFlop/s", HIGHER), "Flop rate is very low.", "more than 300 is usual"),
        (
            Footprint("flops_any", "avg", 3000.0, "GFlop/s", HIGHER),
            "Flop rate is above what is usual here.",
            "2\u202f400",
        ),
        (Footprint("flops_any", "avg", 9000.0, "GFlop/s", HIGHER), "Flop rate cannot be right.", "6\u202f144"),
        (Footprint("cpu_load", "avg", 30.0, "", LOAD), "CPU load is higher than this node can serve.", "8 can run"),
        (Footprint("mem_used", "max", 341.0, "GB", LOWER), "Memory used is high.", "341 GB at the highest of 384"),
        (Footprint("mem_used", "max", 360.0, "GB", LOWER), "Memory used is very high.", "350"),
    ],
)
def test_a_faulty_value_is_a_sentence_with_its_numbers(item: Footprint, headline: str, part: str) -> None:
    (finding,) = findings_of([item])
    assert finding.headline == headline
    assert part in finding.detail
    assert finding.link == f"#m-{item.metric}"


def test_worst_comes_first_and_what_is_in_order_last() -> None:
    items = [
        Footprint("cpu_load", "avg", 95.0, "", Scale(96, 96, 60, 30)),
        Footprint("mem_used", "max", 310.0, "GB", LOWER),
        Footprint("flops_any", "avg", 20.0, "GFlop/s", HIGHER),
    ]
    found = findings_of(items, gaps=[(960, 5400, "from 1 h 30 min after the start")])
    assert [finding.level for finding in found] == [Level.ALERT, Level.CAUTION, Level.ARTEFACT, Level.OK]
    assert found[-1].headline == "1 check found nothing: load."


def test_nodes_that_part_from_the_rest_are_named() -> None:
    (finding,) = findings_of([], outliers=[("cpu_load", ["tn0257", "tn0258", "tn0259", "tn0260"], 16)])
    assert finding.headline == "4 of 16 nodes differ from the rest in CPU load."
    assert "tn0257 to tn0260" in finding.detail


def test_a_metric_of_the_footprint_that_is_missing_is_said() -> None:
    (finding,) = findings_of([], missing=["flops_any", "mem_bw"])
    assert finding.headline == "Flop rate and memory bandwidth were not measured."
    assert finding.level is Level.ARTEFACT


def test_nothing_known_says_nothing() -> None:
    assert findings_of([]) == []


def test_the_annunciator_has_a_cell_for_each_check() -> None:
    cells = checks_of([Footprint("cpu_load", "avg", 20.0, "", Scale(96, 96, 60, 30))], [], gaps=True, measured=True)
    assert [(cell.word, cell.level) for cell in cells] == [
        ("Load", Level.ALERT),
        ("Balance", Level.OK),
        ("Data", Level.ARTEFACT),
    ]
