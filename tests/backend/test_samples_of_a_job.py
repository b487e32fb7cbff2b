"""The rule of docs/samples-of-a-job.md as everybody meets it: pages, API, statistics, archive and energy agree."""

from typing import Any

import orjson
import pytest

from cc_backend.model import JobKey, RowRule, Scope

START_S = 1_760_000_400  # on the grid
EVERYTHING = RowRule(all_jobs=True)


def write(site: Any, host: str, times_s: list[int], metric: str = "load_one") -> None:
    """One batch a time, as an agent sends them; the value of a sample is its time after START_S."""
    for time_s in times_s:
        site.write(f"{metric},cluster=tern,hostname={host},type=node value={time_s} {START_S + time_s}")


def ran(site: Any, begin_s: int, end_s: int, times_s: dict[str, list[int]]) -> int:
    """A job from second to second after START_S, with these samples of its hosts, and some from before and after."""
    site.clock.advance(begin_s)
    hosts = list(times_s)
    id_: int = site.start_job(numNodes=len(hosts), resources=[{"hostname": host} for host in hosts])
    site.clock.advance(end_s - begin_s)
    site.stop_job()
    site.clock.advance(600)
    for host, times in times_s.items():
        write(site, host, times)
    return id_


def answered(site: Any, id_: int, metric: str = "load_one") -> list[list[float | None]]:
    answer = site.client.get(f"/api/jobs/metrics/{id_}?metric={metric}", headers=site.headers())
    found = orjson.loads(answer.data)["data"]["jobMetrics"]
    return [one["data"] for entry in found for one in entry["metric"]["series"]]


EVERY_MINUTE_AT_50 = [50 + 60 * minute for minute in range(-2, 12)]
EVERY_MINUTE = [60 * minute for minute in range(-2, 12)]
EVERY_TEN = [10 * tick for tick in range(-12, 60)]


@pytest.mark.parametrize(
    ("begin_s", "end_s", "sent_s", "own"),
    [
        (5, 310, EVERY_MINUTE_AT_50, [50, 110, 170, 230, 290]),
        (5, 310, EVERY_MINUTE, [60, 120, 180, 240, 300]),
        (0, 300, EVERY_MINUTE, [0, 60, 120, 180, 240, 300]),
        (5, 350, EVERY_MINUTE_AT_50, [50, 110, 170, 230, 290, 350]),
        (51, 349, EVERY_MINUTE_AT_50, [110, 170, 230, 290]),
        # several in a slot: the last one stays, which is that of second 50
        (5, 310, EVERY_TEN, [50, 110, 170, 230, 290]),
        (55, 299, EVERY_TEN, [110, 170, 230, 290]),
    ],
)
def test_a_sample_is_a_jobs_if_its_time_lies_within_it(
    site: Any, begin_s: int, end_s: int, sent_s: list[int], own: list[int]
) -> None:
    id_ = ran(site, begin_s, end_s, {"tn01": sent_s})
    assert answered(site, id_) == [own]
    assert site.archive() == [id_]
    data = site.services.archive.load_data(JobKey("tern", 88412, START_S + begin_s))
    assert [series.data.tolist() for series in data["load_one"][Scope.NODE].series] == [own]
    assert answered(site, id_) == [own], "the archive answers the same"
    job = site.services.job_queries.get(id_, EVERYTHING, now_s=site.services.now_s())
    assert job.footprint["load_one_avg"] == pytest.approx(sum(own) / len(own), abs=0.01)
    kept = site.services.archive.load_meta(JobKey("tern", 88412, START_S + begin_s))
    assert (kept.statistics["load_one"].min, kept.statistics["load_one"].max) == (own[0], own[-1])


def test_nodes_that_send_at_other_times_share_one_axis(site: Any) -> None:
    id_ = ran(site, 5, 310, {"tn01": EVERY_MINUTE, "tn02": EVERY_MINUTE_AT_50})
    assert answered(site, id_) == [[None, 60, 120, 180, 240, 300], [50, 110, 170, 230, 290, None]]


def test_a_restart_of_the_server_changes_nothing(site_of: Any) -> None:
    first = site_of()
    id_ = ran(first, 5, 310, {"tn01": EVERY_MINUTE_AT_50})
    first.services.close()
    assert answered(site_of(), id_) == [[50, 110, 170, 230, 290]]


def test_energy_is_that_of_the_jobs_own_samples(site: Any) -> None:
    site.clock.advance(5)
    site.start_job()
    site.clock.advance(305)
    site.stop_job()
    site.clock.advance(600)
    for time_s in EVERY_MINUTE_AT_50:
        watts = 100 if 5 <= time_s <= 310 else 900
        where = "cluster=tern,hostname=tn01,type=socket,type-id=0"
        site.write(f"cpu_power,{where} value={watts} {START_S + time_s}")
    (id_,) = site.archive()
    job = site.services.job_queries.get(id_, EVERYTHING, now_s=site.services.now_s())
    assert job.energy == pytest.approx(100 * 305 / 3.6e6)


def test_the_page_shows_the_same(site: Any) -> None:
    id_ = ran(site, 5, 310, {"tn01": EVERY_MINUTE_AT_50})
    site.user("root1", "admin", password="correct horse battery")
    site.client.post("/login", data={"username": "root1", "password": "correct horse battery"})
    rows = site.client.get(f"/monitoring/job/{id_}/series/load_one?as=csv").text.splitlines()
    assert [float(row.split(",")[-1]) for row in rows if row[:1].isdigit()] == [50, 110, 170, 230, 290]


def test_a_running_job_has_its_newest_sample(site: Any) -> None:
    site.clock.advance(5)
    id_ = site.start_job()
    site.clock.advance(110)
    write(site, "tn01", [-10, 50, 110])
    assert answered(site, id_) == [[50, 110]]
