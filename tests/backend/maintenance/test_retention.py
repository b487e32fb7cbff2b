"""What the store may forget."""

import threading
from typing import Any

from cc_backend.maintenance.tasks import periodic_tasks
from cc_backend.metricstore import Query

START_S = 1_760_000_400
HOUR_S = 3600


def values_at(site: Any, host: str, from_s: int) -> int:
    ((series,),) = site.services.store.query("tern", [Query("mem_used", host)], from_s=from_s, to_s=from_s + 600)
    return int((series.data == series.data).sum())


def free(site: Any, now_s: int) -> None:
    site.clock.advance(now_s - site.clock())
    (upkeep,) = [task for task in periodic_tasks(site.services, threading.Event()) if task.name == "upkeep"]
    upkeep.run()


def test_old_samples_of_idle_hosts_go(site: Any) -> None:
    site.write_node("tn01", from_s=START_S, minutes=10)
    assert values_at(site, "tn01", START_S) == 10
    free(site, START_S + 60 * HOUR_S)
    ((*rows,),) = site.services.store.query("tern", [Query("mem_used", "tn01")], from_s=START_S, to_s=START_S + 600)
    assert all((series.data != series.data).all() for series in rows)


def test_a_running_job_keeps_the_samples_of_its_hosts(site: Any) -> None:
    site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=10)
    free(site, START_S + 60 * HOUR_S)
    assert values_at(site, "tn01", START_S) == 10


def test_a_job_that_awaits_archiving_keeps_them_too(site: Any) -> None:
    site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=10)
    site.clock.advance(600)
    site.stop_job()
    free(site, START_S + 60 * HOUR_S)
    assert values_at(site, "tn01", START_S) == 10


def test_what_is_younger_than_the_floor_stays(site: Any) -> None:
    site.write_node("tn01", from_s=START_S, minutes=10)
    free(site, START_S + 47 * HOUR_S)
    assert values_at(site, "tn01", START_S) == 10
