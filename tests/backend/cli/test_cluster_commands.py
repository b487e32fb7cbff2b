"""`cluster show`, `diff` and `propose`, as an administrator uses them."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_backend.cli.cluster_propose import MAX_REPORTS, cluster_propose
from cc_backend.clusters import ClusterRegistry, check_file, parse_cluster
from cc_backend.db.opening import open_database
from cc_backend.errors import InvalidInput
from cc_backend.jobs.cluster_generations import ClusterGenerations
from cc_backend.jobs.job_rows import insert_job
from cc_backend.jobs.node_reports import NodeReports, parse_report
from cc_backend.migrations import migrate
from cc_backend.model import Job, JobState, MonitoringStatus, Resource

COMMAND = Path(sys.executable).parent / "cc-backend"


def cc_backend(*arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CC_")}
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


@pytest.fixture
def site(tmp_path: Path, tern: dict[str, Any]) -> Path:
    """The configuration of a site with the cluster tern, of which another generation is known."""
    assert cc_backend("init", tmp_path / "site").returncode == 0
    config = tmp_path / "site" / "config.json"
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(tern), "utf-8")
    assert cc_backend("cluster", "add", path, "--config", config).returncode == 0
    database = open_database(config.parent / "var/job.db")
    migrate(database)
    before = copy.deepcopy(tern)
    before["metricConfig"][0]["peak"] = 4
    for document in (before, tern):
        cluster, _ = parse_cluster(document, source="test")
        ClusterGenerations(database).record(ClusterRegistry({"tern": cluster}), now_s=1_760_000_000)
    database.close_all()
    return config


def test_a_cluster_is_shown_with_what_is_in_effect(site: Path) -> None:
    done = cc_backend("cluster", "show", "tern", "--config", site)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[:5] == [
        "subcluster std: 2 hosts: tn[01-02]",
        "  Example 4-Core: 2 sockets, 2 memory domains, 4 cores, 8 hardware threads, 1 accelerators",
        "  peak rates: scalar 32 GF/s, SIMD 320 GF/s, memory 80 GB/s",
        "  footprint: load_one, mem_used, flops_any, mem_bw",
        "  energy: cpu_power",
    ]
    memory = next(line for line in lines if line.startswith("mem_used"))
    assert memory.split("\t")[1:] == [
        "GB",
        "node",
        "60 s",
        "64",
        "32",
        "48",
        "60",
        "sum, footprint max, lower is better",
    ]


def test_a_metric_is_explained(site: Path) -> None:
    done = cc_backend("cluster", "show", "tern", "--explain", "mem_bw", "--config", site)
    assert done.stdout.startswith("metric mem_bw in subcluster std:\n  unit GB/s  (the metric)\n")
    assert "  rating alert: from 0 up to 10 GB/s\n" in done.stdout


def test_generations_are_listed_and_compared(site: Path) -> None:
    listed = cc_backend("cluster", "show", "tern", "--generations", "--config", site)
    numbers = [line.split("\t")[0] for line in listed.stdout.splitlines()[1:]]
    assert numbers == ["2", "1"]
    for arguments in (("tern",), ("tern@1", "tern@2"), ("tern@1", "tern")):
        done = cc_backend("cluster", "diff", *arguments, "--config", site)
        assert (done.returncode, done.stdout) == (0, "metric load_one: peak 4 -> 8\n"), done.stderr


def test_a_cluster_that_no_server_has_seen_is_said_to_have_no_generation(tmp_path: Path, tern: dict[str, Any]) -> None:
    config, path = tmp_path / "site/config.json", tmp_path / "cluster.json"
    cc_backend("init", tmp_path / "site")
    path.write_text(json.dumps(tern), "utf-8")
    cc_backend("cluster", "add", path, "--config", config)
    listed = cc_backend("cluster", "show", "tern", "--generations", "--config", config)
    assert (listed.returncode, listed.stdout, listed.stderr[:10]) == (0, "", "none yet: ")


def test_a_missing_folder_of_the_archive_is_not_said_to_be_a_fault_of_the_database(
    site: Path, tmp_path: Path, tern: dict[str, Any]
) -> None:
    database = open_database(site.parent / "var/job.db")
    job = Job(
        7, "heron", "ada", "p", 1_760_000_000, (Resource("tn01"),), 1,
        state=JobState.COMPLETED, monitoring_status=MonitoringStatus.ARCHIVED,
    )  # fmt: skip
    insert_job(database, job)
    database.close_all()
    path = tmp_path / "heron.json"
    path.write_text(json.dumps({**tern, "name": "heron"}), "utf-8")
    done = cc_backend("cluster", "add", path, "--config", site)
    assert (done.returncode, "job.db" in done.stderr) == (1, False)
    assert "cc-backend: the job archive lacks the folder of cluster 'heron': put it back" in done.stderr


def test_a_file_is_compared_with_what_is_configured(site: Path, tmp_path: Path, tern: dict[str, Any]) -> None:
    same = cc_backend("cluster", "diff", tmp_path / "cluster.json", "--config", site)
    assert (same.returncode, same.stdout) == (0, "")
    tern["subClusters"][0]["nodes"] = "tn[01-04]"
    (tmp_path / "next.json").write_text(json.dumps(tern), "utf-8")
    done = cc_backend("cluster", "diff", tmp_path / "next.json", "--config", site)
    assert done.stdout == "subcluster std: 2 hosts added: tn[03-04]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "ternn"), "did you mean 'tern'?"),
        (("show", "ternn", "--generations"), "did you mean 'tern'?"),
        (("show", "tern", "--explain", "mem_bv"), "did you mean 'mem_bw'?"),
        (("show", "tern", "--sub-cluster", "sdt"), "std"),
        (("diff", "heron"), "there is no cluster 'heron'"),
        (("diff", "tern@99"), "has no generation 99"),
        (("diff", "tern@x"), "must be a number"),
        (("diff", "tern@99999999999999999999"), "must be a number"),
        (("diff", "heron@1"), "has no generation 1"),
        (("diff", "/nowhere/cluster.json"), "/nowhere/cluster.json"),
        (("diff", "tern@1", "../etc/passwd"), "etc/passwd"),
    ],
)
def test_what_is_not_there_is_one_line(site: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cc_backend("cluster", *arguments, "--config", site)
    assert done.returncode in {1, 2}
    assert (len(done.stderr.splitlines()), said in done.stderr) == (1, True), done.stderr


def test_a_proposal_is_a_file_that_can_be_used(tmp_path: Path, tern: dict[str, Any]) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for number in range(1, 4):
        tern["subClusters"][0]["nodes"] = f"tn{number:02d}"
        (folder / f"tn{number:02d}.json").write_text(json.dumps(tern), "utf-8")
    (folder / "broken.json").write_text("{", "utf-8")
    (folder / "empty.json").write_text('{"name": "tern"}', "utf-8")
    (folder / "notes.txt").write_text("x", "utf-8")
    done = cc_backend("cluster", "propose", folder)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [part["nodes"] for part in document["subClusters"]] == ["tn[01-03]"]
    assert "broken.json is left out: is not JSON" in done.stderr
    assert "empty.json is left out: " in done.stderr
    assert "note: subcluster main: 3 hosts, Example 4-Core, 4 cores, 1 Example GPU" in done.stderr
    proposed = tmp_path / "proposed.json"
    proposed.write_text(done.stdout, "utf-8")
    assert not [fault for fault in check_file(proposed) if fault.severity == "error"]


def test_what_the_agents_reported_becomes_a_proposal_without_a_folder(site: Path, tern: dict[str, Any]) -> None:
    done = cc_backend("cluster", "propose", "--config", site)
    assert (done.returncode, "no agent has reported its node" in done.stderr) == (1, True)
    database = open_database(site.parent / "var/job.db")
    reports = NodeReports(database, ClusterRegistry({}))
    for cluster, host in (("heron", "h01"), ("heron", "h02"), ("tern", "tn01")):
        description = {**tern, "name": cluster, "subClusters": [{**tern["subClusters"][0], "nodes": host}]}
        reports.store(parse_report({"cluster": cluster, "hostname": host, "description": description}), 1)
    reports.store(parse_report({"cluster": "heron", "hostname": "h03"}), 1)
    database.close_all()
    done = cc_backend("cluster", "propose", "--config", site)
    assert (done.returncode, "heron (3 nodes), tern (1 nodes); say which with --name" in done.stderr) == (1, True)
    done = cc_backend("cluster", "propose", "--config", site, "--name", "heron")
    document = json.loads(done.stdout)
    assert (document["name"], [part["nodes"] for part in document["subClusters"]]) == ("heron", ["h[01-02]"])


def test_a_folder_without_reports_or_with_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        cluster_propose(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match=r"has no file \*\.json"):
        cluster_propose(tmp_path)
    for number in range(MAX_REPORTS + 1):
        (tmp_path / f"{number}.json").touch()
    with pytest.raises(InvalidInput, match=f"more than the {MAX_REPORTS}"):
        cluster_propose(tmp_path)
