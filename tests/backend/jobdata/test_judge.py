"""One judgement of a job: the list, the page, the API, filter and order say the same of every job."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import peewee
import pytest
from flask.testing import FlaskClient

from cc_backend.errors import Unavailable
from cc_backend.insight.assessment import RULES_VERSION
from cc_backend.insight.findings import FindingCode
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.judgements import Judgements
from cc_backend.maintenance.running_footprints import FootprintRefresher
from cc_backend.migrations import migrate
from cc_backend.model import Finding, Job, Judgement, Level, RowRule
from cc_demo.fill_site import fill_site
from cc_demo.site_jobs import EDGE_CASES, EVERYDAY_JOBS, HUNG, IDLE_GPU, SITE

Site = Any
EVERYBODY = RowRule(all_jobs=True)
PASSWORD = "a long enough one"
JOBS = "/monitoring/jobs/"


def sign_in(site: Site, *roles: str) -> FlaskClient:
    site.user("hbrandt", *(roles or ("support",)), password=PASSWORD)
    form = {"username": "hbrandt", "password": PASSWORD, "redirect": "/"}
    assert site.client.post("/login", data=form).status_code == 303
    client: FlaskClient = site.client
    return client


def judge_all(site: Site) -> None:
    """What the periodic work does, until there is nothing left to do."""
    services, now_s = site.services, int(site.clock())
    refresher = FootprintRefresher(services.running_jobs, services.metric_data, services.clusters, services.judge)
    while refresher.step(now_s=now_s, budget_s=60).due:
        pass
    while services.judge.judge_outdated(now_s=now_s):
        pass


def jobs_of(site: Site) -> list[Job]:
    found: list[Job] = site.services.job_queries.find(
        JobFilter(), EVERYBODY, now_s=int(site.clock()), items_per_page=-1
    ).jobs
    return found


def levels_of_the_list(client: FlaskClient, address: str) -> dict[int, tuple[str, str]]:
    """Id -> verdict and finding of each row of a table."""
    text = client.get(address).text
    out = {}
    for id_, row in re.findall(r'<tr data-row="(\d+)">(.*?)</tr>', text, re.DOTALL):
        level = re.search(r'class="v" data-v="(\w+)"', row)
        finding = re.search(r'<td class="wide dim wide-only">(.*?)</td>', row)
        out[int(id_)] = (level[1] if level else "", finding[1] if finding else "")
    return out


def verdict_of_the_page(client: FlaskClient, id_: int) -> tuple[str, str]:
    text = client.get(f"/monitoring/job/{id_}").text
    level = re.search(r'<h2 class="v big-v" data-v="(\w+)"', text)
    finding = re.search(r'<ol class="finds".*?<(?:b|span)>(.*?)</', text, re.DOTALL)
    return level[1] if level else "", finding[1] if finding else ""


@pytest.fixture
def tarn_site(site_of: Callable[..., Site]) -> Site:
    """The made-up site with all its jobs, judged."""
    site = site_of(clusters=[SITE.document()])
    fill_site(site.services, (*EVERYDAY_JOBS, *EDGE_CASES))
    judge_all(site)
    return site


def test_list_page_and_api_agree_about_every_job(tarn_site: Site) -> None:
    client = sign_in(tarn_site)
    jobs = jobs_of(tarn_site)
    assert len(jobs) > 10
    listed = levels_of_the_list(client, f"{JOBS}?view=table&per=100")
    answer = client.get("/api/jobs/?items-per-page=100", headers=tarn_site.headers("api")).get_json()
    told = {job["id"]: job for job in answer["jobs"]}
    assert {job.id for job in jobs} == listed.keys() == told.keys()
    for job in jobs:
        level, finding = listed[job.id]
        page_level, page_finding = verdict_of_the_page(client, job.id)
        assert level == page_level == told[job.id].get("verdict", "")
        if finding:
            assert finding == page_finding
            assert told[job.id]["finding"]["text"]
    assert {"alert", "caution", "ok"} <= {level for level, _ in listed.values()}
    codes = {job["jobId"]: job["finding"]["code"] for job in answer["jobs"] if "finding" in job}
    assert (codes[HUNG], codes[IDLE_GPU]) == (FindingCode.STALLED, FindingCode.IDLE_GPUS)


def test_a_visit_of_the_page_changes_nothing_in_the_list(tarn_site: Site) -> None:
    client = sign_in(tarn_site)
    before = levels_of_the_list(client, f"{JOBS}?view=table&per=100")
    for id_ in before:
        client.get(f"/monitoring/job/{id_}")
    assert levels_of_the_list(client, f"{JOBS}?view=table&per=100") == before


def test_the_list_can_be_filtered_by_verdict(tarn_site: Site) -> None:
    client = sign_in(tarn_site)
    everything = levels_of_the_list(client, f"{JOBS}?view=table&per=100")
    bad = levels_of_the_list(client, f"{JOBS}?view=table&per=100&verdict=alert,caution")
    assert bad == {id_: row for id_, row in everything.items() if row[0] in ("alert", "caution")}
    assert bad == levels_of_the_list(client, f"{JOBS}?view=table&per=100&verdict=alert&verdict=caution")
    assert client.get(f"{JOBS}?verdict=dreadful").status_code == 400
    answer = client.get("/api/jobs/?items-per-page=100&verdict=alert,caution", headers=tarn_site.headers("api"))
    assert {job["id"] for job in answer.get_json()["jobs"]} == bad.keys()
    assert client.get("/api/jobs/?verdict=dreadful", headers=tarn_site.headers("api")).status_code == 400


def test_the_list_can_be_sorted_by_verdict(tarn_site: Site) -> None:
    client = sign_in(tarn_site)
    order = ["alert", "caution", "high", "artefact", "ok", ""]
    places = [order.index(level) for level, _ in levels_of_the_list(
        client, f"{JOBS}?view=table&per=100&sort=verdict").values()]  # fmt: skip
    assert places == sorted(places)


def test_the_start_page_shows_the_worst_of_all_running_jobs_first(site: Site) -> None:
    """The oldest job is the bad one, and more run than the page has room for."""
    start_s = int(site.clock())
    bad = site.start_job(jobId=1, resources=[{"hostname": "tn02"}], startTime=start_s)
    for number in range(2, 30):
        site.clock.advance(1)
        site.start_job(jobId=number, startTime=start_s + number)
    job = next(job for job in jobs_of(site) if job.id == bad)
    site.services.judge.record([(job, Judgement(Level.ALERT, None, 0, start_s, RULES_VERSION))])
    text = sign_in(site).get("/").text.replace("\u00a0", " ")
    assert "29 jobs run, 1 needs your attention." in text
    assert re.findall(r'data-row="(\d+)"', text)[0] == str(bad)


def test_the_start_page_lists_what_ended_by_its_end(site: Site) -> None:
    day_s = 86400
    start_s = int(site.clock())
    long = site.start_job(jobId=1, startTime=start_s)
    site.clock.advance(9 * day_s)
    short = site.start_job(jobId=2, resources=[{"hostname": "tn02"}], startTime=int(site.clock()))
    site.clock.advance(60)
    site.stop_job(job_id=2)
    site.clock.advance(60)
    site.stop_job(job_id=1)
    rows = re.findall(r'data-row="(\d+)"', sign_in(site).get("/").text)
    assert rows == [str(long), str(short)]
    site.clock.advance(7 * day_s - 30)
    form = {"username": "hbrandt", "password": PASSWORD, "redirect": "/"}
    site.client.post("/login", data=form)
    assert re.findall(r'data-row="(\d+)"', site.client.get("/").text) == [str(long)]


def test_how_a_job_ended_is_judged_when_it_is_archived(site: Site) -> None:
    id_ = site.archived_job(minutes=10, state="failed")
    job = site.services.job_queries.get(id_, EVERYBODY, now_s=int(site.clock()))
    assert job.judgement is not None
    assert job.judgement.rules_version == RULES_VERSION
    assert "Failed after 10 min of 2 h." in sign_in(site).get(f"/monitoring/job/{id_}").text.replace("\u00a0", " ")


def test_a_job_that_is_not_monitored_is_judged_by_its_end(site: Site) -> None:
    id_ = site.start_job(monitoringStatus=0)
    site.clock.advance(60)
    site.stop_job(state="failed")
    judge_all(site)
    job = site.services.job_queries.get(id_, EVERYBODY, now_s=int(site.clock()))
    assert job.judgement is not None
    assert job.judgement.level is Level.CAUTION


def test_the_page_of_a_job_that_nobody_judged_yet_keeps_its_judgement(site: Site) -> None:
    start_s = int(site.clock())
    id_ = site.start_job(numNodes=2, resources=[{"hostname": "tn01"}, {"hostname": "tn02"}])
    site.clock.advance(1800)
    site.write_node("tn01", from_s=start_s, minutes=30)
    client = sign_in(site)
    assert levels_of_the_list(client, f"{JOBS}?view=table")[id_] == ("", "")
    level, finding = verdict_of_the_page(client, id_)
    assert level
    assert levels_of_the_list(client, f"{JOBS}?view=table")[id_] == (level, finding)


def test_older_rules_are_replaced_by_and_by_newest_job_first(site: Site) -> None:
    old = site.archived_job(minutes=5, jobId=1)
    new = site.archived_job(minutes=5, jobId=2)
    judgements = Judgements(site.services.database)
    for job in jobs_of(site):
        assert job.judgement is not None
        judgements.store([(job, replace(job.judgement, rules_version=0, level=Level.HIGH))])
    assert [job.id for job in judgements.outdated(rules=RULES_VERSION, limit=1)] == [new]
    assert site.services.judge.judge_outdated(now_s=int(site.clock())) == 2
    assert judgements.outdated(rules=RULES_VERSION, limit=5) == []
    levels = {job.id: job.judgement.level for job in jobs_of(site) if job.judgement}
    assert Level.HIGH not in (levels[old], levels[new])


def test_a_job_that_cannot_be_judged_holds_up_no_other(site: Site) -> None:
    good = site.archived_job(minutes=5, jobId=1)
    broken = site.archived_job(minutes=5, jobId=2)
    judgements = Judgements(site.services.database)
    for job in jobs_of(site):
        judgements.store([(job, Judgement(None, judged_s=1))])
    for path in Path(site.services.settings.archive.path).rglob("data.json*"):
        if f"{site.services.job_queries.get(broken, EVERYBODY, now_s=0).start_time}" in str(path):
            path.write_bytes(b"no JSON")
    assert site.services.judge.judge_outdated(now_s=int(site.clock())) == 2
    levels = {job.id: job.judgement.level for job in jobs_of(site) if job.judgement}
    assert levels[broken] is None
    assert levels[good] is not None
    assert site.services.judge.judge_outdated(now_s=int(site.clock())) == 0


def test_what_keeps_many_jobs_from_being_judged_is_logged_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        site.archived_job(minutes=5, jobId=number)
    judgements = Judgements(site.services.database)
    for job in jobs_of(site):
        judgements.store([(job, Judgement(None, judged_s=1))])
    root = Path(site.services.settings.archive.path)
    (root / "tern" / "0").rename(root / "elsewhere")
    assert site.services.judge.judge_outdated(now_s=int(site.clock())) == 3
    assert len([record for record in caplog.records if "not judged" in record.message]) == 1


def test_a_judgement_of_a_running_job_does_not_outlive_its_end(site: Site) -> None:
    """The refresh read the job while it ran, and writes after the archiver did."""
    site.start_job()
    (read,) = site.services.running_jobs.list_all(now_s=int(site.clock()))
    site.clock.advance(60)
    site.stop_job(state="failed")
    site.archive()
    site.services.judge.record([(read, Judgement(Level.OK, None, 0, 1, RULES_VERSION))])
    (job,) = jobs_of(site)
    assert job.judgement is not None
    assert job.judgement.level is not Level.OK


def test_nor_does_that_of_a_job_that_is_not_monitored(site: Site) -> None:
    site.start_job(monitoringStatus=0)
    (read,) = site.services.running_jobs.list_all(now_s=int(site.clock()))
    site.clock.advance(60)
    site.stop_job(state="failed")
    site.services.judge.record([(read, Judgement(Level.OK, None, 0, 1, RULES_VERSION))])
    judge_all(site)
    (job,) = jobs_of(site)
    assert job.judgement is not None
    assert job.judgement.level is Level.CAUTION


def test_a_database_that_cannot_be_written_to_still_shows_the_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    start_s = int(site.clock())
    id_ = site.start_job()
    site.clock.advance(1800)
    site.write_node("tn01", from_s=start_s, minutes=30)
    client = sign_in(site)

    def refuse(_: object, __: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(Judgements, "store", refuse)
    assert client.get(f"/monitoring/job/{id_}").status_code == 200


def test_a_plain_user_learns_nothing_of_a_restricted_metric_and_staff_see_the_same_verdict(
    site_of: Callable[..., Site], tern: dict[str, Any]
) -> None:
    for metric in tern["metricConfig"]:
        if metric["name"] == "flops_any":
            metric["restrict"] = True
            metric["footprint"] = "avg"
            metric.update(peak=1e6, normal=9e5, caution=5e5, alert=1e5)
    site = site_of(clusters=[tern])
    id_ = site.archived_job(minutes=10)
    site.user("mlindqv", password=PASSWORD)
    site.client.post("/login", data={"username": "mlindqv", "password": PASSWORD, "redirect": "/"})
    verdict = verdict_of_the_page(site.client, id_)
    listed = levels_of_the_list(site.client, f"{JOBS}?view=table")[id_]
    assert listed == verdict
    assert "Flop rate" not in site.client.get(f"{JOBS}?view=table").text
    staff = site.app.test_client()
    site.user("hbrandt", "support", password=PASSWORD)
    staff.post("/login", data={"username": "hbrandt", "password": PASSWORD, "redirect": "/"})
    assert verdict_of_the_page(staff, id_) == verdict
    assert "Flop rate: for staff only, not part of the verdict." in staff.get(f"/monitoring/job/{id_}").text
    assert levels_of_the_list(staff, f"{JOBS}?view=table")[id_] == listed


def test_samples_that_cannot_be_read_leave_the_verdict_as_it_was(site: Site) -> None:
    id_ = site.archived_job(minutes=10)
    job = site.services.job_queries.get(id_, EVERYBODY, now_s=0)
    alert = Judgement(
        Level.ALERT,
        Finding(FindingCode.NOT_MEASURED, Level.ALERT, facts={"metrics": ["cpu_load"]}),
        0,
        1,
        RULES_VERSION,
    )
    site.services.judge.record([(job, alert)])
    for path in Path(site.services.settings.archive.path).rglob("data.json*"):
        path.write_bytes(b"no JSON")
    client = sign_in(site)
    assert verdict_of_the_page(client, id_)[0] == "alert"
    assert levels_of_the_list(client, f"{JOBS}?view=table")[id_][0] == "alert"


@pytest.mark.parametrize(
    "finding",
    [
        "no JSON",
        "[]",
        '{"code": "idle_nodes"}',
        '{"code": "idle_nodes", "level": "alert"}',
        '{"code": "idle_nodes", "level": "dreadful", "facts": {}}',
        '{"code": "metric_level", "level": "alert", "facts": {"kind": "low", "value": "x", "edge": 1}}',
        '{"code": "samples_absent", "level": "artefact", "facts": {"why": "x", "stretches": [[1]]}}',
        '{"code": "ended", "level": "alert", "facts": {"state": "running", "limit_s": 0, "after_s": 1}}',
        '{"code": "from_the_future", "level": "alert"}',
        '{"code": ["idle_nodes"], "level": "alert"}',
    ],
)
def test_a_finding_that_cannot_be_read_spoils_neither_list_nor_page(site: Site, finding: str) -> None:
    id_ = site.archived_job(minutes=5)
    site.services.database.first_row("UPDATE job SET finding = ?, verdict = 1", finding)
    client = sign_in(site)
    level, words = levels_of_the_list(client, f"{JOBS}?view=table")[id_]
    assert (level, words.strip()) in {("caution", "Record damaged."), ("caution", "")}
    answer = client.get("/api/jobs/", headers=site.headers("api"))
    assert answer.get_json()["jobs"][0]["verdict"] == "caution"
    assert client.get(f"/monitoring/job/{id_}").status_code == 200


def test_a_database_from_before_judgements_were_kept_gets_their_columns(site: Site) -> None:
    id_ = site.archived_job(minutes=5)
    database = site.services.database
    database.first_row("DROP TRIGGER job_change_update")
    database.first_row("DROP INDEX job_rules")
    for column in ("verdict", "finding", "more_findings", "lost_core_hours", "lost_gpu_hours", "judged_s", "rules"):
        database.first_row(f"ALTER TABLE job DROP COLUMN {column}")
    database.first_row("DELETE FROM schema_version WHERE version > 1")
    with pytest.raises(peewee.OperationalError):
        jobs_of(site)
    migrate(database)
    (job,) = jobs_of(site)
    assert job.judgement is None
    judge_all(site)
    (job,) = jobs_of(site)
    assert job.id == id_
    assert job.judgement is not None
    assert job.judgement.level is not None
    indexes = {index.name for index in database.get_indexes("job")}
    assert "job_rules" in indexes


def test_jobs_that_were_judged_by_older_rules_are_found_by_an_index(site: Site) -> None:
    sql = "SELECT 1 FROM job WHERE rules = 0 AND monitoring_status <> 1 AND state <> 'running' ORDER BY start_time"
    plan = site.services.database.execute_sql(f"EXPLAIN QUERY PLAN {sql}").fetchall()
    assert any("job_rules" in str(row) for row in plan)
    assert not any("TEMP B-TREE" in str(row) for row in plan)
