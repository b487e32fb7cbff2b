"""kill -9 of the backend at any moment: what it acknowledged is there, each sample by value, each job event once."""

import os
import random
import time

import pytest
from faultrig.numbered import JobPoster, SampleSender
from faultrig.rounds import check_jobs, check_samples, counted, kill_backend_rounds, watch
from faultrig.site import METRICS, Site

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("CC_FAULT_ROUNDS", "60"))
HOSTS = (1, 2, 3)
SPAN_S = 90_000
"""So many slots a sender may fill; of a job over 100,000 s long the API gives means of several samples."""


def test_a_killed_backend_loses_no_acknowledged_sample_and_no_job_event_and_doubles_none(
    site: Site, chance: random.Random
) -> None:
    base_s = int(time.time()) - SPAN_S
    senders = [SampleSender(site, host, base_s) for host in HOSTS]
    posters = [JobPoster(site, sender, first_id=sender.host * 100_000) for sender in senders]
    site.start()
    try:
        watched = watch(site, senders)
        kill_backend_rounds(site, senders, posters, chance, rounds=ROUNDS)
        assert not [line for poster in [*senders, *posters] for line in poster.wrong]
        assert check_samples(site, senders, watched) == []
        assert check_jobs(site, senders, posters) == []
    finally:
        for poster in [*senders, *posters]:
            poster.end()
        site.stop()
    assert "Traceback" not in site.log
    assert min(sender.acknowledged for sender in senders) > ROUNDS
    assert sum(job.stopped for poster in posters for job in poster.jobs) > ROUNDS / 2
    counted(
        kills=ROUNDS,
        samples=sum(sender.acknowledged for sender in senders) * len(METRICS),
        events=sum(job.started + job.stopped for poster in posters for job in poster.jobs),
    )


@pytest.mark.parametrize("after_s", [0.25, 0.4, 0.55, 0.7])
def test_a_backend_that_is_told_to_end_while_it_starts_ends(site: Site, after_s: float) -> None:
    site.start(wait=False)
    assert site.running is not None
    time.sleep(after_s)
    site.running.terminate()
    try:
        assert site.running.wait(timeout=60) is not None
    finally:
        site.stop()
