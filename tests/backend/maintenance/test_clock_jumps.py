"""The wall clock jumps under a running backend: nothing is emptied, nothing stands still, nothing is refused."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.maintenance.store_tasks import BackgroundWork
from cc_backend.maintenance.tasks import periodic_tasks
from cc_backend.metricstore import Query
from cc_backend.runtime.trusted_clock import OBSERVE_S

DAY_S = 86_400
JUMPS = [30 * DAY_S, 50 * 366 * DAY_S]


def run_all(site: Any) -> None:
    """All periodic work once."""
    for task in periodic_tasks(site.services, threading.Event()):
        task.run()


def samples(site: Any, host: str = "tn01") -> int:
    """How many samples the store has of a metric, at any time that matters here."""
    now_s = int(site.clock())
    total = 0
    for centre_s in {now_s, 1_760_000_400, *(now_s - jump_s for jump_s in JUMPS)}:
        rows = site.services.store.query(
            "tern", [Query("load_one", host)], from_s=centre_s - DAY_S, to_s=centre_s + DAY_S
        )
        total = max(total, sum(int((row.data == row.data).sum()) for row in rows[0]))
    return total


@pytest.fixture
def living(site: Any) -> Any:
    """A site with samples, a login, node states and a job that cannot be archived for now."""
    site.user("ada", password="a long password")
    site.cookie = site.services.sessions.create("ada", site.clock())
    body = {"cluster": "tern", "nodes": [{"hostname": "tn01", "states": ["idle"]}]}
    headers = site.headers()
    for state in ("idle", "allocated"):
        body["nodes"][0]["states"] = [state]
        assert site.client.post("/api/nodestate/", json=body, headers=headers).status_code == 200
    site.start_job()
    site.write_node("tn01", from_s=int(site.clock()), minutes=11)
    site.clock.advance(600)
    site.stop_job()
    return site


@pytest.mark.parametrize("jump_s", JUMPS)
def test_a_jump_ahead_empties_nothing(living: Any, jump_s: int) -> None:
    living.clock.step(jump_s)
    for _ in range(3):
        run_all(living)
        living.clock.advance(600)
    assert samples(living) == 11
    assert living.services.database.first_row("SELECT COUNT(*) FROM node_state") == (2,)
    living.clock.step(-jump_s)
    run_all(living)
    assert samples(living) == 11
    assert living.services.sessions.lookup(living.cookie, living.clock()) is not None


@pytest.mark.parametrize("jump_s", [*JUMPS, -30 * DAY_S, -50 * 366 * DAY_S])
def test_samples_are_taken_by_the_time_before_and_by_the_time_after(living: Any, jump_s: int) -> None:
    before_s = int(living.clock())
    living.clock.step(jump_s)
    for time_s in (before_s + 60, int(living.clock()) + 60):
        if time_s > 0:
            living.write(f"load_one,cluster=tern,hostname=tn02 value=1 {time_s}")


def test_an_archive_that_fails_while_the_clock_is_ahead_gives_no_job_up(
    living: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    living.clock.step(30 * DAY_S)
    with monkeypatch.context() as broken:
        broken.setattr(type(living.services.archive), "store", fails)
        run_all(living)
    assert len(living.services.archive_queue.queued_jobs()) == 1
    living.clock.step(-30 * DAY_S)
    run_all(living)
    assert living.services.archive_queue.queued_jobs() == []


def fails(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_jump_that_the_samples_confirm_is_followed_and_old_samples_go(living: Any) -> None:
    living.clock.step(30 * DAY_S)
    for _ in range(4):
        living.clock.advance(OBSERVE_S / 3)
        living.write(f"load_one,cluster=tern,hostname=tn02 value=1 {int(living.clock())}")
        run_all(living)
    assert samples(living) == 0
    assert living.services.store.hosts("tern") == ["tn02"]


def test_samples_of_the_time_before_keep_it_from_being_followed(living: Any) -> None:
    living.clock.step(30 * DAY_S)
    for _ in range(4):
        living.clock.advance(500)
        living.write(f"load_one,cluster=tern,hostname=tn02 value=1 {int(living.clock()) - 30 * DAY_S}")
        run_all(living)
    assert samples(living) == 11


@pytest.mark.parametrize("jump_s", JUMPS)
def test_a_clock_that_is_ahead_at_the_start_empties_nothing(
    site_of: Callable[..., Any], clock: Any, jump_s: int
) -> None:
    first = site_of()
    first.write_node("tn01", from_s=int(clock()), minutes=11)
    run_all(first)
    first.services.close()
    clock.advance(600)
    clock.step(jump_s)
    second = site_of()
    for _ in range(3):
        run_all(second)
        clock.advance(600)
    assert samples(second) == 11
    clock.step(-jump_s)
    run_all(second)
    assert samples(second) == 11


@pytest.mark.parametrize("behind_s", [1000, 3600, 30 * DAY_S])
def test_however_often_it_starts_while_the_clock_is_behind_no_sample_is_refused(
    site_of: Callable[..., Any], clock: Any, behind_s: int
) -> None:
    for start in range(4):
        site = site_of()
        run_all(site)
        clock.advance(60)
        true_s = int(clock()) + (behind_s if start else 0)
        site.write(f"load_one,cluster=tern,hostname=tn01 value=1 {true_s}")
        BackgroundWork(site.services, periodic_tasks).stop()
        if not start:
            clock.step(-behind_s)


def test_a_login_that_was_made_while_the_clock_was_ahead_does_not_last_for_years(site: Any) -> None:
    site.user("ada", password="a long password")
    site.clock.step(50 * 366 * DAY_S)
    cookie = site.services.sessions.create("ada", site.clock())
    assert site.services.sessions.lookup(cookie, site.clock()) is not None
    site.clock.step(-50 * 366 * DAY_S)
    assert site.services.sessions.lookup(cookie, site.clock()) is None


def test_a_retry_of_the_archive_is_not_put_off_by_a_clock_that_was_set_back(
    living: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = periodic_tasks(living.services, threading.Event())
    archive = next(task for task in tasks if task.name == "archive")
    with monkeypatch.context() as broken:
        broken.setattr(type(living.services.archive), "store", fails)
        archive.run()
    living.clock.step(-30 * DAY_S)
    archive.run()
    assert living.services.archive_queue.queued_jobs() == []
