from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.archive.gaps_json import gaps_from_json, gaps_to_json
from cc_backend.archive.meta_json import decode_meta_json, encode_meta_json, job_to_meta_json
from cc_backend.metricstore.gaps.reason_text import gap_sentence
from cc_backend.model import DataGap, GapReason, Job


def job(**more: Any) -> Job:
    return Job(job_id=1, cluster="tern", user="u", project="p", start_time=100, resources=(), num_nodes=0, **more)


def test_hosts_are_one_list_and_times_are_seconds() -> None:
    absences = {"flops_any": (DataGap(GapReason.HOST_SILENT, ("n018", "n017"), 100, 700, last_sample_s=40),)}
    assert gaps_to_json(absences) == {
        "flops_any": [{"reason": "host_silent", "hosts": "n[017-018]", "from": 100, "to": 700, "lastSample": 40}]
    }


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.lists(
            st.builds(
                DataGap,
                st.sampled_from(GapReason),
                st.lists(st.from_regex(r"n[0-9]{2}", fullmatch=True), max_size=5).map(lambda n: tuple(sorted(set(n)))),
                st.integers(0, 2**37 - 1),
                st.integers(0, 2**37 - 1),
                st.none() | st.integers(0, 2**37 - 1),
            ),
            min_size=1,
            max_size=4,
        ).map(tuple),
        max_size=3,
    )
)
def test_absences_survive_a_round_trip_through_the_file(absences: dict[str, tuple[DataGap, ...]]) -> None:
    read = decode_meta_json(encode_meta_json(job(gaps=absences)), source="test")
    assert read.gaps == (absences or None)


@given(st.integers(), st.integers(), st.none() | st.integers())
def test_what_was_read_can_be_told(from_s: int, to_s: int, last_s: int | None) -> None:
    entry = {"reason": "host_silent", "hosts": "n1", "from": from_s, "to": to_s, "lastSample": last_s}
    for absences in (gaps_from_json({"load": [entry]}) or {}).values():
        for one in absences:
            assert gap_sentence(one, "load", zone=UTC).startswith("n1 sent nothing from ")


def test_a_complete_job_has_no_such_key() -> None:
    assert "missingData" not in job_to_meta_json(job())
    assert "missingData" not in job_to_meta_json(job(gaps={}))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "host_silent",
        {},
        {"reason": "aliens", "hosts": "", "from": 1, "to": 2},
        {"reason": "host_silent", "hosts": "n[1-", "from": 1, "to": 2},
        {"reason": "host_silent", "hosts": ["n1"], "from": 1, "to": 2},
        {"reason": "host_silent", "hosts": "n1", "from": "1", "to": 2},
        {"reason": "host_silent", "hosts": "n1", "from": 1, "to": 2**37},
        {"reason": "host_silent", "hosts": "n1", "from": -1, "to": 2},
        {"reason": "host_silent", "hosts": "n1", "from": 10**30, "to": 10**31},
        {"reason": "host_silent", "hosts": "n1", "from": 1, "to": 2.5},
        {"reason": ["host_silent"], "hosts": "n1", "from": 1, "to": 2},
    ],
)
def test_an_entry_that_cannot_be_read_costs_only_itself(entry: object) -> None:
    good = {"reason": "host_never_seen", "hosts": "n1", "from": 1, "to": 2}
    found = gaps_from_json({"load": [entry, good], "flops": [entry], "net": 5})
    assert found == {"load": (DataGap(GapReason.HOST_NEVER_SEEN, ("n1",), 1, 2),)}


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_document_says_nothing(document: object) -> None:
    assert gaps_from_json(document) is None
