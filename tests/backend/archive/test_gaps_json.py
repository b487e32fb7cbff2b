from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.archive.gaps_json import absences_from_document, absences_to_document
from cc_backend.archive.meta_json import job_from_bytes, job_to_bytes, job_to_document
from cc_backend.metricstore.gaps.reason_text import sentence
from cc_backend.model import Absence, Job, Why


def job(**more: Any) -> Job:
    return Job(job_id=1, cluster="tern", user="u", project="p", start_time=100, resources=(), num_nodes=0, **more)


def test_hosts_are_one_list_and_times_are_seconds() -> None:
    absences = {"flops_any": (Absence(Why.HOST_SILENT, ("n018", "n017"), 100, 700, last_s=40),)}
    assert absences_to_document(absences) == {
        "flops_any": [{"reason": "host_silent", "hosts": "n[017-018]", "from": 100, "to": 700, "lastSample": 40}]
    }


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.lists(
            st.builds(
                Absence,
                st.sampled_from(Why),
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
def test_absences_survive_a_round_trip_through_the_file(absences: dict[str, tuple[Absence, ...]]) -> None:
    read = job_from_bytes(job_to_bytes(job(absences=absences)), source="test")
    assert read.absences == (absences or None)


@given(st.integers(), st.integers(), st.none() | st.integers())
def test_what_was_read_can_be_told(from_s: int, to_s: int, last_s: int | None) -> None:
    entry = {"reason": "host_silent", "hosts": "n1", "from": from_s, "to": to_s, "lastSample": last_s}
    for absences in (absences_from_document({"load": [entry]}) or {}).values():
        for one in absences:
            assert sentence(one, "load", zone=UTC).startswith("n1 sent nothing from ")


def test_a_complete_job_has_no_such_key() -> None:
    assert "missingData" not in job_to_document(job())
    assert "missingData" not in job_to_document(job(absences={}))


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
    found = absences_from_document({"load": [entry, good], "flops": [entry], "net": 5})
    assert found == {"load": (Absence(Why.HOST_NEVER, ("n1",), 1, 2),)}


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_document_says_nothing(document: object) -> None:
    assert absences_from_document(document) is None
