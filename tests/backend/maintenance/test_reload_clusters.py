"""A running server takes over what changes in the cluster.json files."""

import copy
import math
from pathlib import Path
from typing import Any

import orjson
import pytest

from cc_backend.maintenance.reload_clusters import reload_clusters
from cc_backend.metricstore import Query

START_S = 1_760_000_400


def file_of(site: Any, cluster: str = "tern") -> Path:
    return Path(site.services.settings.archive.path) / cluster / "cluster.json"


def change(site: Any, document: dict[str, Any]) -> None:
    site.services.archive.store_cluster(document)


def changed(tern: dict[str, Any], **metric: Any) -> dict[str, Any]:
    """The cluster with its metric mem_used changed."""
    document = copy.deepcopy(tern)
    (entry,) = [entry for entry in document["metricConfig"] if entry["name"] == "mem_used"]
    entry.update(metric)
    return document


def samples_of(site: Any, metric: str = "mem_used", host: str = "tn01", *, seconds: int = 240) -> list[float]:
    ((series,),) = site.services.store.query("tern", [Query(metric, host)], from_s=START_S, to_s=START_S + seconds)
    return [value for value in series.data.tolist() if not math.isnan(value)]


def write(site: Any, line: str) -> tuple[int, dict[str, int]]:
    """How many lines the store took, and why it refused others."""
    result = site.services.store.ingest(line.encode(), received_s=int(site.clock()))
    return result.accepted, dict(result.rejected)


def test_nothing_is_taken_over_while_nothing_changed(site: Any) -> None:
    assert not reload_clusters(site.services)
    before = site.services.store.counters()
    assert not reload_clusters(site.services)
    assert site.services.store.counters() == before


def test_a_cluster_that_is_added_takes_samples_and_jobs_at_once(site: Any, tern: dict[str, Any]) -> None:
    line = f"load_one,cluster=gull,hostname=tn01 value=1 {START_S}"
    assert write(site, line) == (0, {"unknown_cluster": 1})
    change(site, {**tern, "name": "gull"})
    assert reload_clusters(site.services)
    assert write(site, line) == (1, {})
    site.start_job(cluster="gull")
    clusters = site.client.get("/api/clusters/", headers=site.headers()).get_json()
    assert sorted(cluster["name"] for cluster in clusters["clusters"]) == ["gull", "tern"]
    assert not reload_clusters(site.services)


def test_a_metric_that_is_added_is_kept_from_then_on(site: Any, tern: dict[str, Any]) -> None:
    line = f"gustiness,cluster=tern,hostname=tn01 value=1 {START_S}"
    assert write(site, line) == (0, {"unknown_metric": 1})
    document = changed(tern)
    document["metricConfig"].append({**document["metricConfig"][0], "name": "gustiness"})
    change(site, document)
    reload_clusters(site.services)
    assert write(site, line) == (1, {})
    assert samples_of(site, "gustiness") == [1]


def test_a_metric_that_is_removed_from_a_subcluster_is_refused_there(site: Any, tern: dict[str, Any]) -> None:
    site.write_node("tn01", from_s=START_S, minutes=1)
    change(site, changed(tern, subClusters=[{"name": "std", "remove": True}]))
    reload_clusters(site.services)
    assert write(site, f"mem_used,cluster=tern,hostname=tn01 value=1 {START_S}") == (0, {"unknown_metric": 1})


def test_samples_are_there_after_a_change_of_their_timestep(site: Any, site_of: Any, tern: dict[str, Any]) -> None:
    site.write_node("tn01", from_s=START_S, minutes=4)
    change(site, changed(tern, timestep=120))
    reload_clusters(site.services)
    assert samples_of(site) == [11, 13]
    assert len(samples_of(site, "load_one")) == 4
    site.services.close()
    assert samples_of(site_of()) == [11, 13]


def test_a_file_that_cannot_be_used_is_told_once_and_changes_nothing(
    site: Any, tern: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    whole = file_of(site).read_bytes()
    file_of(site).write_bytes(whole[:100])
    assert not reload_clusters(site.services)
    assert "the old one stays" in caplog.text
    assert str(file_of(site)) in caplog.text
    caplog.clear()
    assert not reload_clusters(site.services)
    assert caplog.text == ""
    assert write(site, f"mem_used,cluster=tern,hostname=tn01 value=1 {START_S}") == (1, {})
    file_of(site).write_bytes(orjson.dumps(changed(tern, timestep=30)))
    assert reload_clusters(site.services)
    assert site.services.clusters["tern"].metrics["mem_used"].timestep_s == 30


def test_a_cluster_whose_file_is_gone_stays_until_the_next_start(
    site: Any, site_of: Any, tern: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    change(site, {**tern, "name": "gull"})
    reload_clusters(site.services)
    file_of(site, "gull").unlink()
    assert reload_clusters(site.services)
    assert "'gull' is missing" in caplog.text
    assert "gull" in site.services.clusters
    assert write(site, f"load_one,cluster=gull,hostname=tn01 value=1 {START_S}") == (1, {})
    site.services.close()
    assert "gull" not in site_of().services.clusters


def test_an_archive_that_is_away_for_a_moment_stops_nothing(site: Any) -> None:
    archive = Path(site.services.settings.archive.path)
    archive.rename(archive.with_name("away"))
    assert not reload_clusters(site.services)
    archive.mkdir()
    reload_clusters(site.services)
    assert write(site, f"mem_used,cluster=tern,hostname=tn01 value=1 {START_S}") == (1, {})
    assert site.services.clusters.names() == ["tern"]


def test_strict_about_hosts_the_store_takes_only_those_that_the_file_names(site_of: Any, tern: dict[str, Any]) -> None:
    site = site_of(settings={"metric-store": {"strict-hosts": True}})
    line = f"mem_used,cluster=tern,hostname=tn03 value=1 {START_S}"
    assert write(site, line) == (0, {"unknown_host": 1})
    document = changed(tern)
    document["subClusters"][0]["nodes"] = "tn[01-03]"
    change(site, document)
    reload_clusters(site.services)
    assert write(site, line) == (1, {})


def test_by_default_other_hosts_are_kept_and_counted(site: Any) -> None:
    assert write(site, f"mem_used,cluster=tern,hostname=tn03 value=1 {START_S}") == (1, {})
    counters = site.services.store.counters()
    assert (counters.unknown_hosts, counters.unknown_host_lines) == (1, 1)
    text = site.client.get("/metrics", headers=site.headers("admin")).text
    assert "cc_backend_store_unknown_hosts 1" in text
    assert "cc_backend_store_unknown_host_lines_total 1" in text


def test_the_setting_caps_series_of_jobs(site_of: Any) -> None:
    site = site_of(settings={"metric-store": {"max-job-series": 2}})
    lines = [f"mem_used,cluster=tern,hostname=tn01,type=job,type-id={job} value=1 {START_S}" for job in range(5)]
    assert write(site, "\n".join(lines)) == (2, {"series_limit": 3})
    site.write_node("tn01", from_s=START_S, minutes=1)
