"""What `check` tells people who set the adapter up: it tries what the service will do, and names what is wrong."""

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from cc_slurm_adapter.check import CheckResult, run_checks
from cc_slurm_adapter.options import AdapterOptions
from cc_slurm_adapter.settings import load_configuration


@pytest.fixture
def check(tmp_path: Path, backend: Any, environment: Dict[str, str]) -> Callable[..., List[CheckResult]]:
    def run(**options: Any) -> List[CheckResult]:
        given = {"url": backend.url, "state_dir": str(tmp_path / "state"), **options}
        return run_checks(load_configuration(AdapterOptions(**given), environment), {**os.environ, **environment})

    return run


def of(findings: List[CheckResult], subject: str) -> List[str]:
    return [str(finding) for finding in findings if finding.subject == subject]


def test_everything_works_and_each_line_says_what_was_tried(
    check: Callable[..., List[CheckResult]], slurm: Any, backend: Any
) -> None:
    findings = check()
    assert [str(finding) for finding in findings if finding.failed] == []
    assert of(findings, "backend") == [f"works  backend: {backend.url} accepts what is sent for cluster 'alpha'"]
    assert of(findings, "topology") == [
        "works  topology: 1 kind of nodes in the description of cluster 'alpha'",
    ]
    assert of(findings, "nodes") == ["works  nodes: 2 nodes"]
    assert of(findings, "backend address") == []


def test_no_event_is_sent(check: Callable[..., List[CheckResult]], backend: Any, slurm: Any, make_job: Any) -> None:
    slurm.show([make_job.queued(7, 1000)], [])
    check()
    assert backend.received == [("/api/nodestate/", {"cluster": "alpha", "nodes": []})]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_the_reason_that_the_backend_gave_is_reported(
    check: Callable[..., List[CheckResult]], backend: Any, slurm: Any, status: int
) -> None:
    backend.refuse = lambda _path, _document: status
    (line,) = of(check(), "backend")
    assert line.startswith("FAILS  backend: http://127.0.0.1:")
    assert f"does not accept what is sent for cluster 'alpha': HTTP {status} (refused with {status})" in line


def test_the_reason_that_the_description_was_rejected_is_reported(
    check: Callable[..., List[CheckResult]], backend: Any, slurm: Any
) -> None:
    said = {"status": "Bad Request", "code": "unknown_cluster", "error": "cluster: there is no cluster 'beta'"}
    backend.describe = lambda: (400, said)
    (line,) = of(check(cluster="beta"), "topology")
    assert line.endswith("/api/clusters/?cluster=beta: HTTP 400: cluster: there is no cluster 'beta'")


def test_an_unreachable_backend_is_reported(check: Callable[..., List[CheckResult]], slurm: Any) -> None:
    findings = check(url="http://127.0.0.1:1")
    assert "no response" in of(findings, "backend")[0]
    assert "no response" in of(findings, "topology")[0]


def test_without_slurm_and_without_a_name_nothing_is_asked_of_a_cluster_called_like_an_error(
    check: Callable[..., List[CheckResult]], slurm: Any, backend: Any
) -> None:
    slurm.break_down("config")
    findings = check()
    for subject in ("backend", "topology"):
        (line,) = of(findings, subject)
        assert line.startswith(f"FAILS  {subject}: not checked, because the name of the cluster is unknown")
    assert backend.received == []
    assert [finding.failed for finding in check(cluster="alpha") if finding.subject == "backend"] == [False]


def test_nodes_that_the_description_lacks_or_contradicts_are_reported(
    check: Callable[..., List[CheckResult]], slurm: Any, tmp_path: Path
) -> None:
    topology = {"core": [[0], [1]], "socket": [[0, 1]]}
    document = {"name": "alpha", "subClusters": [{"name": "a", "nodes": "n1", "topology": topology}]}
    (tmp_path / "cluster.json").write_text(json.dumps(document))
    findings = check(topology_file=str(tmp_path / "cluster.json"))
    assert [finding.text for finding in findings if finding.subject == "nodes in the topology" and finding.failed] == [
        "the description lacks n2: jobs there are rejected until cluster.json has them",
        "n1: 4 cores by Slurm, 2 by the description: jobs there come without hardware threads",
    ]


def test_nodes_that_are_ignored_are_not_missed(
    check: Callable[..., List[CheckResult]], slurm: Any, tmp_path: Path
) -> None:
    config = tmp_path / "adapter.json"
    config.write_text(json.dumps({"ignore-hosts": "^n2$", "topology-file": "cluster.json"}))
    topology = {"core": [[0], [1], [2], [3]], "socket": [[0, 1], [2, 3]]}
    document = {"name": "alpha", "subClusters": [{"name": "a", "nodes": "n1", "topology": topology}]}
    (tmp_path / "cluster.json").write_text(json.dumps(document))
    assert [str(finding) for finding in check(config=str(config)) if finding.failed] == []
