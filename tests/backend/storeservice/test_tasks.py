"""What the metric store's own program does by itself."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cc_backend.maintenance.store_tasks import BackgroundWork
from cc_backend.storeservice.tasks import periodic_tasks

HOUR_S = 3600


def test_the_table_of_periodic_work(store_site: Callable[..., Any]) -> None:
    tasks = periodic_tasks(store_site().services, threading.Event())
    assert {task.name: (task.interval_s, task.first_run_s, task.retry_s) for task in tasks} == {
        "upkeep": (60, 2, None),
        "snapshot": (1800, 1800, 60),
        "lost files": (1, 2, 10),
    }


def test_however_often_it_starts_while_the_clock_is_behind_no_sample_is_refused(
    store_site: Callable[..., Any], clock: Any
) -> None:
    for start in range(4):
        site = store_site(folder="store")
        (upkeep,) = [task for task in periodic_tasks(site.services, threading.Event()) if task.name == "upkeep"]
        upkeep.run()
        clock.advance(60)
        true_s = int(clock()) + (HOUR_S if start else 0)
        batch = b"load_one,cluster=a,hostname=n1 value=1 %d\n" % true_s
        assert site.client.post("/api/write", data=batch, headers=site.service()).status_code == 200
        BackgroundWork(site.services, periodic_tasks).stop()
        if not start:
            clock.step(-HOUR_S)


def test_the_end_takes_a_last_snapshot_and_leaves_no_log(store_site: Callable[..., Any], tmp_path: Path) -> None:
    site = store_site()
    background = BackgroundWork(site.services, periodic_tasks)
    background.start()
    site.client.post("/api/write", data=b"load_one,cluster=a,hostname=n1 value=1\n", headers=site.service())
    background.stop()
    background.stop()
    assert len(list(tmp_path.rglob("*.win1"))) == 1
    assert list(tmp_path.rglob("*.wal")) == []
