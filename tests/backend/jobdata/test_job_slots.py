"""Which samples are a job's: by their own time where it is known, else by overlap of at least half a slot."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.jobdata.job_slots import JobSlots, first_sample_s, own_slots, touched_slots
from cc_backend.model import Job, JobMetric, JobState, MetricUnit, SampleSeries

STEP_S = 60
DAY = 28_000  # a slot number of this century


def job(start_s: int, stop_s: int, **changes: Any) -> Job:
    return Job(
        1, "tern", "u", "p", start_s, (), 1, duration=stop_s - start_s, **{"state": JobState.COMPLETED, **changes}
    )


class TestByTheTimeOfTheSample:
    """A job from second 5 to second 310, of which each slot holds one sample."""

    @pytest.mark.parametrize(
        ("offset_s", "slots"),
        [
            (50, JobSlots(0, 5)),  # 50 is its own, 350 lies 40 s after its end
            (0, JobSlots(1, 6)),  # 0 lies before its start, 300 is its own
            (5, JobSlots(0, 6)),  # a sample in the second of the start
            (10, JobSlots(0, 6)),  # and one in that of the end
            (11, JobSlots(0, 5)),
            (4, JobSlots(1, 6)),
        ],
    )
    def test_a_sample_counts_if_its_time_lies_within_the_job(self, offset_s: int, slots: JobSlots) -> None:
        assert own_slots(5, 310, STEP_S, offset_s) == slots

    def test_the_newest_slot_of_a_running_job_is_its_own(self) -> None:
        assert own_slots(5, None, STEP_S, 50).first == 0
        assert own_slots(5, None, STEP_S, 0).first == 1
        assert own_slots(5, None, STEP_S, 0).end > DAY * 1000

    @given(
        start_s=st.integers(0, 10**9),
        duration_s=st.integers(0, 10**5),
        step_s=st.integers(1, 900),
        share=st.floats(0, 1, exclude_max=True),
    )
    def test_exactly_the_samples_from_start_to_stop(
        self, start_s: int, duration_s: int, step_s: int, share: float
    ) -> None:
        stop_s, offset_s = start_s + duration_s, int(share * step_s)
        own = own_slots(start_s, stop_s, step_s, offset_s)
        around = range(start_s // step_s - 2, stop_s // step_s + 3)
        expected = [slot for slot in around if start_s <= slot * step_s + offset_s <= stop_s]
        assert [slot for slot in around if own.first <= slot < own.end] == expected


class TestByOverlap:
    @pytest.mark.parametrize(
        ("start_s", "stop_s", "slots"),
        [
            (5, 310, JobSlots(0, 5)),  # 55 s of the first slot, 10 s of the last
            (30, 330, JobSlots(0, 6)),  # half of each
            (31, 329, JobSlots(1, 5)),
            (0, 300, JobSlots(0, 5)),
            (60, 60, JobSlots(2, 2)),  # no time at all
            (10, 40, JobSlots(0, 1)),  # half of one slot
            (10, 39, JobSlots(1, 1)),
        ],
    )
    def test_an_edge_slot_counts_from_half_on(self, start_s: int, stop_s: int, slots: JobSlots) -> None:
        assert own_slots(start_s, stop_s, STEP_S) == slots

    @given(start_s=st.integers(0, 10**9), duration_s=st.integers(0, 10**5), step_s=st.integers(1, 900))
    def test_exactly_the_slots_of_which_the_job_has_half(self, start_s: int, duration_s: int, step_s: int) -> None:
        stop_s = start_s + duration_s
        own = own_slots(start_s, stop_s, step_s)
        around = range(start_s // step_s - 2, stop_s // step_s + 3)
        expected = [
            slot for slot in around if 2 * (min(stop_s, (slot + 1) * step_s) - max(start_s, slot * step_s)) >= step_s
        ]
        assert [slot for slot in around if own.first <= slot < own.end] == expected


def test_the_slots_that_a_job_touches() -> None:
    assert touched_slots(job(5, 310), STEP_S, 10**9) == JobSlots(0, 6)
    assert touched_slots(job(60, 60), STEP_S, 10**9) == JobSlots(1, 2)
    assert touched_slots(job(5, 5, state=JobState.RUNNING), STEP_S, 130) == JobSlots(0, 3)
    assert touched_slots(job(500, 500, state=JobState.RUNNING), STEP_S, 130) == JobSlots(8, 9), "its start is to come"


@pytest.mark.parametrize(
    ("kept_from_s", "samples", "first_s"),
    [
        (None, 5, 60),  # as many as fit behind the start
        (None, 6, 0),  # one more: the slot of the start is among them
        (None, 2, 60),
        (240, 6, 240),  # what the store says
    ],
)
def test_where_the_first_sample_lies(kept_from_s: int | None, samples: int, first_s: int) -> None:
    series = [SampleSeries("tn01", np.zeros(samples, np.float32))]
    metric = JobMetric(MetricUnit(""), STEP_S, series, first_slot_s=kept_from_s)
    assert first_sample_s(job(5, 310), metric) == first_s
