from typing import Optional, Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_slurm_adapter.slurm_model import JobDetails, NodeAllocation, SlurmNode
from cc_slurm_adapter.sources.scontrol_text import parse_job_details, parse_nodes
from cc_slurm_adapter.sources.slurm_values import parse_ids

JOB = """JobId=7 JobName=x
   OverSubscribe=USER Contiguous=0 Licenses=(null) Network=(null)
     Nodes=n[1-2],g1.example.org CPU_IDs=0-1,8 Mem=1000 GRES=gpu:a100:2(IDX:0-1)
"""


def test_a_line_of_nodes_stands_for_each_of_them() -> None:
    places = tuple(
        NodeAllocation(host, cpu_ids=(0, 1, 8), gres="gpu:a100:2(IDX:0-1)") for host in ("n1", "n2", "g1.example.org")
    )
    assert parse_job_details(JOB) == {7: JobDetails(places, "single_user", JOB.strip())}


@pytest.mark.parametrize(
    ("line", "shared"),
    [
        ("   OverSubscribe=NO Contiguous=0 L", "none"),
        ("   OverSubscribe=OK Contiguous=0 L", "multi_user"),
        ("   OverSubscribe=YES Contiguous=1 L", "multi_user"),
        ("   OverSubscribe=USER Contiguous=0 L", "single_user"),
        ("   OverSubscribe=NO Exclusive=NODE Contiguous=0 L", "none"),
        ("   OverSubscribe=NO Exclusive=USER Contiguous=0 L", "single_user"),
        ("   OverSubscribe=NO Exclusive=NO Contiguous=0 L", "multi_user"),
        ("   OverSubscribe=NO Exclusive=MCS Contiguous=0 L", None),
        ("   Comment=OverSubscribe=NO Contiguous=0 L", None),
    ],
)
def test_sharing_is_written_in_two_ways(line: str, shared: Optional[str]) -> None:
    assert parse_job_details(f"JobId=1 JobName=a\n{line}\n")[1].shared == shared


@pytest.mark.parametrize(
    "line",
    [
        "   Comment=Nodes=evil CPU_IDs=0 Mem=1 GRES=",
        "Nodes=evil CPU_IDs=0 Mem=1 GRES=",
        "     Nodes=evil CPU_IDs=0 Mem=x GRES=",
        "     Nodes=n[ CPU_IDs=0 Mem=1 GRES=",
        "     Nodes=$(reboot) CPU_IDs=0 Mem=1 GRES=",
    ],
)
def test_lines_of_another_form_are_not_read(line: str) -> None:
    assert parse_job_details(f"JobId=1 JobName=a\n{line}\n")[1].allocations == ()


def test_a_job_that_stands_there_twice_is_not_believed() -> None:
    forged = "JobId=8 JobName=x\nJobId=7 JobName=forged\n     Nodes=evil CPU_IDs=0 Mem=1 GRES=\n"
    assert set(parse_job_details(forged + JOB)) == {8}


def test_an_array_task_is_known_by_its_own_id() -> None:
    assert set(parse_job_details("JobId=13 ArrayJobId=9 ArrayTaskId=2 JobName=s\n\nNo jobs in the system\n")) == {13}


def test_the_start_tells_which_run_of_a_job_is_meant() -> None:
    start = "   StartTime=2026-11-22T06:39:56 EndTime=2026-11-22T07:09:56 Deadline=N/A\n"
    assert parse_job_details(f"JobId=7 JobName=w\n{start}")[7].start_time == 1_795_329_596
    other = start.replace("06:39:56 E", "06:39:57 E")
    for unclear in ("", start + other, start.replace("2026-11", "2026-13"), "   StartTime=Unknown EndTime=Unknown D\n"):
        assert parse_job_details(f"JobId=7 JobName=w\n{unclear}")[7].start_time == 0


def test_jobs_are_parsed_on_access() -> None:
    written = "".join(f"JobId={number} JobName=w\n     Nodes=n1 CPU_IDs=0 Mem=1 GRES=\n\n" for number in range(1, 50))
    details = parse_job_details(written)
    assert (len(details), set(details), 99 in details, details.get(99)) == (49, set(range(1, 50)), False, None)
    assert details[7].text == "JobId=7 JobName=w\n     Nodes=n1 CPU_IDs=0 Mem=1 GRES="


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_only_line_feeds_end_a_line(separator: str) -> None:
    forged = f"JobId=7 JobName=w{separator}JobId=8 JobName=x{separator}     Nodes=evil CPU_IDs=0 Mem=1 GRES=\n"
    details = parse_job_details(forged)
    assert set(details) == {7}
    assert details[7].allocations == ()


@pytest.mark.parametrize("written", ["", "a", "1-", "-1", "3-1", "1,,2", "1-2-3", "99999999", "0-9999999", "٣", " 1"])
def test_what_is_no_list_of_numbers_is_none(written: str) -> None:
    assert parse_ids(written) is None


@given(st.sets(st.integers(0, 300), min_size=1))
def test_numbers_come_back_as_slurm_writes_them(ids: Set[int]) -> None:
    ranges = []
    ordered = sorted(ids)
    first = last = ordered[0]
    for number in [*ordered[1:], 10_000]:
        if number != last + 1:
            ranges.append(str(first) if first == last else f"{first}-{last}")
            first = number
        last = number
    assert parse_ids(",".join(ranges)) == tuple(ordered)


@given(st.text())
def test_no_text_breaks_the_parsers(written: str) -> None:
    list(parse_job_details(written).values())
    parse_nodes(written)


def test_nodes_are_read_with_their_states_and_what_is_in_use() -> None:
    written = (
        "NodeName=n1 Arch=x86_64 CoresPerSocket=4 \n   CPUAlloc=12 CPUTot=16\n"
        "   OS=Linux 6.1 State=FORGED\n"
        "   RealMemory=16000 AllocMem=6000 Sockets=2 Boards=1\n   State=DOWN*+DRAIN+POWERED_DOWN ThreadsPerCore=2\n"
        "   CfgTRES=cpu=16,gres/gpu=4\n   AllocTRES=cpu=12,mem=6000M,gres/gpu=3,gres/gpu:a100=3\n"
        "   Comment=AllocMem=9 Sockets=77\n\nNodeName=n2 Arch=x86_64\n   State=IDLE~\n"
    ).replace(" State=FORGED", "")
    assert parse_nodes(written) == [
        SlurmNode("n1", ("down", "drain", "powered_down"), 2, 4, 2, 12, 6000, 3),
        SlurmNode("n2", ("idle",)),
    ]
