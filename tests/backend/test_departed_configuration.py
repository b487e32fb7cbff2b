"""What leaves cluster.json takes no job with it: they are shown, fed and archived with what they started with."""

import copy
import logging
from pathlib import Path
from typing import Any

import pytest

from cc_backend.jobs.tables import JobRow
from cc_backend.maintenance.reload_clusters import reload_clusters
from cc_backend.model import JobKey, Scope

START_S = 1_760_000_400
PASSWORD = "a long password"
SAMPLES = 11  # of ten minutes, one at the start and one at the stop


def other(tern: dict[str, Any], name: str = "spare", nodes: str = "sp1") -> dict[str, Any]:
    """A subcluster that stays when another one leaves."""
    return {**copy.deepcopy(tern["subClusters"][0]), "name": name, "nodes": nodes}


def without_metric(tern: dict[str, Any], name: str) -> dict[str, Any]:
    return {**tern, "metricConfig": [entry for entry in tern["metricConfig"] if entry["name"] != name]}


def without_sub_cluster(tern: dict[str, Any]) -> dict[str, Any]:
    return {**tern, "subClusters": [other(tern)]}


def removed_in_sub_cluster(tern: dict[str, Any], name: str) -> dict[str, Any]:
    document = copy.deepcopy(tern)
    (entry,) = [entry for entry in document["metricConfig"] if entry["name"] == name]
    entry["subClusters"] = [{"name": "std", "remove": True}]
    return document


def with_renamed_hosts(tern: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(tern)
    document["subClusters"][0]["nodes"] = "new[01-02]"
    return document


LEAVING = {
    "subcluster": without_sub_cluster,
    "metric": lambda tern: without_metric(tern, "mem_used"),
    "metric of the subcluster": lambda tern: removed_in_sub_cluster(tern, "mem_used"),
    "hosts": with_renamed_hosts,
}


def change(site: Any, document: dict[str, Any]) -> None:
    site.services.archive.store_cluster(document)
    assert reload_clusters(site.services)


def restarted(site: Any, site_of: Any, **more: Any) -> Any:
    site.services.close()
    return site_of(**more)


def cluster_file(site: Any) -> Path:
    return Path(site.services.settings.archive.path) / "tern" / "cluster.json"


def page_of(site: Any, path: str, *roles: str) -> Any:
    name = f"{roles[0]}-person" if roles else "mlindqv"
    if site.services.users.find(name) is None:
        site.user(name, *roles, password=PASSWORD)
    browser = site.app.test_client()
    browser.post("/login", data={"username": name, "password": PASSWORD})
    return browser.get(path)


def archived_metrics(site: Any, job_id: int = 88412) -> dict[str, int]:
    """Metric -> how many samples the archive has of the first series at node scope."""
    data = site.services.archive.load_data(JobKey("tern", job_id, START_S))
    return {name: len(by_scope[Scope.NODE].series[0].data) for name, by_scope in data.items() if Scope.NODE in by_scope}


def all_of_it_is_there(site: Any, id_: int) -> None:
    """The job is in list and API, its page and the data of its plots come, with every metric that it has."""
    assert page_of(site, f"/monitoring/job/{id_}").status_code == 200
    document = page_of(site, f"/monitoring/job/{id_}/data").get_json()
    assert "mem_used" in str(document)
    assert page_of(site, f"/monitoring/job/{id_}/series/mem_used").status_code == 200
    assert f"/monitoring/job/{id_}" in page_of(site, "/monitoring/jobs/?cluster=tern&sub=std").text
    listed = site.client.get("/api/jobs/?cluster=tern", headers=site.headers()).get_json()["jobs"]
    assert [job["id"] for job in listed] == [id_]
    answer = site.client.get(f"/api/jobs/{id_}?all-metrics=true", headers=site.headers())
    assert answer.status_code == 200
    assert "mem_used" in str(answer.get_json())
    answer = site.client.get(f"/api/jobs/metrics/{id_}?metric=mem_used", headers=site.headers("admin", "api"))
    assert [entry["name"] for entry in answer.get_json()["data"]["jobMetrics"]] == ["mem_used"]


@pytest.mark.parametrize("leaves", LEAVING)
class TestWhatLeaves:
    def test_an_archived_job_is_shown_as_before(
        self, site: Any, site_of: Any, tern: dict[str, Any], leaves: str
    ) -> None:
        id_ = site.archived_job()
        change(site, LEAVING[leaves](tern))
        all_of_it_is_there(site, id_)
        all_of_it_is_there(restarted(site, site_of), id_)

    def test_a_running_job_is_shown_and_archived_with_what_it_started_with(
        self, site: Any, tern: dict[str, Any], leaves: str
    ) -> None:
        id_ = site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=6)
        site.clock.advance(300)
        change(site, LEAVING[leaves](tern))
        site.write_node("tn01", from_s=START_S + 360, minutes=5)
        site.clock.advance(300)
        all_of_it_is_there(site, id_)
        site.stop_job()
        assert site.archive() == [id_]
        assert archived_metrics(site)["mem_used"] == SAMPLES
        all_of_it_is_there(site, id_)

    def test_a_restart_in_between_changes_nothing(
        self, site: Any, site_of: Any, tern: dict[str, Any], leaves: str
    ) -> None:
        id_ = site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=6)
        site.clock.advance(300)
        site.services.archive.store_cluster(LEAVING[leaves](tern))
        site = restarted(site, site_of, settings={"metric-store": {"strict-hosts": True}})
        site.write_node("tn01", from_s=START_S + 360, minutes=5)
        site.clock.advance(300)
        site.stop_job()
        assert site.archive() == [id_]
        assert archived_metrics(site)["mem_used"] == SAMPLES
        all_of_it_is_there(site, id_)

    def test_samples_of_it_are_taken_until_the_last_job_is_archived(
        self, site_of: Any, tern: dict[str, Any], leaves: str
    ) -> None:
        site = site_of(settings={"metric-store": {"strict-hosts": True}})
        site.start_job()
        change(site, LEAVING[leaves](tern))

        def taken() -> int:
            line = f"mem_used,cluster=tern,hostname=tn01 value=1 {int(site.clock())}"
            return int(site.services.store.ingest(line.encode(), received_s=int(site.clock())).accepted)

        assert taken() == 1
        site.clock.advance(60)
        site.stop_job()
        assert not reload_clusters(site.services)
        assert taken() == 1
        assert site.archive()
        assert not reload_clusters(site.services)
        assert taken() == 0
        site.services.store.validate()


class TestAWholeCluster:
    def test_its_jobs_are_shown_and_stopped_and_archived(self, site: Any, site_of: Any) -> None:
        id_ = site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=6)
        site.clock.advance(300)
        cluster_file(site).unlink()
        site = restarted(site, site_of)
        assert "tern" not in site.services.clusters
        site.write_node("tn01", from_s=START_S + 360, minutes=5)
        site.clock.advance(300)
        all_of_it_is_there(site, id_)
        site.stop_job()
        assert site.archive() == [id_]
        assert archived_metrics(site)["mem_used"] == SAMPLES
        all_of_it_is_there(site, id_)
        site = restarted(site, site_of)
        all_of_it_is_there(site, id_)

    def test_its_name_stays_among_the_choices_of_the_list(self, site: Any, site_of: Any) -> None:
        site.archived_job()
        cluster_file(site).unlink()
        assert "<option>tern</option>" in page_of(restarted(site, site_of), "/monitoring/jobs/").text

    def test_the_start_says_which_running_jobs_it_has(
        self, site: Any, site_of: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        site.start_job()
        cluster_file(site).unlink()
        restarted(site, site_of)
        assert "'tern' has no subcluster 'std', where jobs run" in caplog.text
        assert "they keep what they started with" in caplog.text


class TestWhereNoConfigurationIsKnown:
    """Jobs of an archive that came from elsewhere, or from before configurations were remembered."""

    def forgotten(self, site: Any, id_: int) -> None:
        with site.services.database.write():
            JobRow.update(cluster_config=0).where(JobRow.id == id_).execute(site.services.database)
            site.services.database.execute_sql("DELETE FROM cluster_config")
        cluster_file(site).unlink()

    def test_an_archived_job_shows_with_what_its_archive_says(self, site: Any, site_of: Any) -> None:
        id_ = site.archived_job()
        self.forgotten(site, id_)
        site = restarted(site, site_of)
        all_of_it_is_there(site, id_)
        for scope in ("node", "socket", "core", "hwthread", "accelerator"):
            assert page_of(site, f"/monitoring/job/{id_}?scope={scope}").status_code == 200
        assert "GB" in page_of(site, f"/monitoring/job/{id_}").text

    @pytest.mark.parametrize("path", ["/monitoring/jobs/?cluster=tern", "/monitoring/jobs/?cluster=tern&view=plots"])
    def test_its_row_in_a_list_has_the_curves_that_the_archive_has(self, site: Any, site_of: Any, path: str) -> None:
        id_ = site.archived_job()
        before = page_of(site, path).text
        self.forgotten(site, id_)
        site = restarted(site, site_of)
        for _ in range(2):  # the second time from what is kept
            page = page_of(site, path).text
            assert "not measured" not in page
            assert page.count("<polyline") + page.count("<path") >= 3
            assert ("GB" in page) is ("GB" in before)

    def test_a_metric_that_was_restricted_when_it_was_known_is_not_in_the_row(
        self, site_of: Any, tern: dict[str, Any]
    ) -> None:
        for entry in tern["metricConfig"]:
            entry["restrict"] = entry["name"] == "mem_used"
        site = site_of(clusters=[tern])
        site.archived_job()
        with site.services.database.write():  # the job's own is unknown, and no other has its subcluster
            JobRow.update(cluster_config=0, sub_cluster="gone").execute(site.services.database)
        assert "Memory used" not in page_of(site, "/monitoring/jobs/?cluster=tern").text
        assert "Memory used" in page_of(site, "/monitoring/jobs/?cluster=tern", "admin").text

    def test_the_api_thins_to_the_coarsest_metric_of_the_archive_and_says_what_is_missing(
        self, site: Any, site_of: Any
    ) -> None:
        id_ = site.archived_job(skip=(3, 4, 5))
        path = f"/api/jobs/{id_}?all-metrics=true"
        known = site.client.get(path, headers=site.headers()).get_json()
        self.forgotten(site, id_)
        site = restarted(site, site_of)
        answer = site.client.get(path, headers=site.headers()).get_json()
        assert answer["Data"] == known["Data"]
        assert answer["missingData"].keys() == known["missingData"].keys() - {"acc_utilization"}, "of a job without GPU"

    def test_one_whose_samples_cannot_be_read_still_has_its_record(self, site: Any, site_of: Any) -> None:
        id_ = site.archived_job()
        directory = site.services.archive.job_directory(JobKey("tern", 88412, START_S))
        for file in directory.glob("data.json*"):
            file.write_bytes(b"{")
        self.forgotten(site, id_)
        site = restarted(site, site_of)
        assert page_of(site, f"/monitoring/job/{id_}").status_code == 200

    def test_a_metric_that_left_the_file_is_still_shown(self, site: Any, site_of: Any, tern: dict[str, Any]) -> None:
        id_ = site.archived_job()
        self.forgotten(site, id_)
        site.services.archive.store_cluster(without_metric(tern, "mem_used"))
        all_of_it_is_there(restarted(site, site_of), id_)


class TestWhoMaySee:
    @pytest.mark.parametrize("forget", [False, True])
    def test_a_restricted_metric_that_left_stays_restricted(
        self, site_of: Any, tern: dict[str, Any], *, forget: bool
    ) -> None:
        tern["metricConfig"][2]["restrict"] = True
        site = site_of(clusters=[tern])
        id_ = site.archived_job()
        if forget:
            with site.services.database.write():
                JobRow.update(cluster_config=0).execute(site.services.database)
        change(site, without_metric(tern, "mem_used"))
        assert "mem_used" not in page_of(site, f"/monitoring/job/{id_}/data").text
        assert "mem_used" in page_of(site, f"/monitoring/job/{id_}/data", "admin").text

    def test_the_api_hides_it_from_plain_users_too(self, site_of: Any, tern: dict[str, Any]) -> None:
        tern["metricConfig"][2]["restrict"] = True
        site = site_of(clusters=[tern])
        id_ = site.archived_job()
        change(site, without_metric(tern, "mem_used"))
        site.user("mlindqv", "user", "api")
        path = f"/userapi/jobs/{id_}?all-metrics=true"
        text = site.client.get(path, headers=site.headers("user", "api", name="mlindqv")).text
        assert "load_one" in text
        assert "mem_used" not in text

    def test_a_metric_that_is_restricted_later_is_hidden_at_once(self, site: Any, tern: dict[str, Any]) -> None:
        id_ = site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=6)
        site.clock.advance(300)
        tern["metricConfig"][2]["restrict"] = True
        change(site, without_metric(tern, "load_one"))
        assert "mem_used" not in page_of(site, f"/monitoring/job/{id_}/data").text
        assert "load_one" in page_of(site, f"/monitoring/job/{id_}/data").text


class TestWhatIsSaid:
    def test_the_log_counts_the_jobs_that_depend_on_what_leaves(
        self, site: Any, tern: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        site.archived_job(jobId=1)
        site.start_job(jobId=2)
        change(site, without_sub_cluster(tern))
        assert "subcluster 'std' of 'tern' leaves; jobs there: 1 running, 0 not archived yet, 1 archived" in caplog.text

    def test_metrics_and_hosts_are_named_too(
        self, site: Any, tern: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        site.start_job()
        change(site, with_renamed_hosts(without_metric(tern, "mem_used")))
        assert "metric mem_used of subcluster 'std' of 'tern' leaves; jobs there: 1 running" in caplog.text
        assert "host tn01 of 'tern' leaves; running jobs there: 1" in caplog.text

    def test_what_no_job_depends_on_goes_without_a_word(
        self, site: Any, tern: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        change(site, without_sub_cluster(without_metric(tern, "mem_used")))
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_change_while_the_database_is_away_is_taken_over_later(
    site: Any, tern: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cc_backend.errors import Unavailable  # noqa: PLC0415 - used here only

    def away(*_: object, **__: object) -> None:
        raise Unavailable("locked")

    site.services.archive.store_cluster(without_sub_cluster(tern))
    with monkeypatch.context() as patch:
        patch.setattr(site.services.cluster_generations, "record", away)
        with pytest.raises(Unavailable):
            reload_clusters(site.services)
    assert reload_clusters(site.services)
    assert list(site.services.clusters["tern"].sub_clusters) == ["spare"]


def test_the_same_content_is_the_same_generation_again(site: Any, tern: dict[str, Any]) -> None:
    first = site.services.clusters.generation("tern")
    change(site, without_sub_cluster(tern))
    assert site.services.clusters.generation("tern") != first
    change(site, dict(reversed(tern.items())))
    assert site.services.clusters.generation("tern") == first
