"""A job database of ClusterCockpit 1.5, taken over by a real server, has the numbers that were counted in the file."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration

# Counted in the file by other means; hours are cut off as ClusterCockpit 1.5 does.
TOTALS = {
    "": {"totalJobs": 544, "totalUsers": 42, "totalWalltime": 2751, "totalNodeHours": 2751, "totalCoreHours": 88384}
    | {"totalAccHours": 3980, "shortJobs": 138, "runningJobs": 0},
    "alex": {"totalJobs": 303, "totalNodeHours": 2408, "totalCoreHours": 63680, "totalAccHours": 3980, "shortJobs": 87},
    "fritz": {"totalJobs": 241, "totalNodeHours": 343, "totalCoreHours": 24704, "totalAccHours": 0, "shortJobs": 51},
}

FOOTPRINT_SUMS = {
    "flops_any_avg": 28032360.0523,
    "acc_mem_used_avg": 7100328.369,
    "mem_bw_avg": 3713903.486,
    "mem_used_avg": 27191.0903,
    "cpu_load_avg": 22930.408,
    "acc_utilization_avg": 13589.488,
}


@dataclass
class Site:
    """A server that has taken the database over, and tokens by name."""

    client: httpx.Client
    tokens: dict[str, str]

    def get(self, path: str, caller: str = "service") -> Any:
        """The JSON of an answer."""
        answer = self.client.get(path, headers={"X-Auth-Token": self.tokens[caller]})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def site(
    processes: Any, initialised: Path, shared_fixtures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("acceptance") / "backend"
    shutil.copytree(initialised, folder)
    backend = processes.Backend(folder, processes.free_port())
    for name in ("alex", "fritz"):
        document = shared_fixtures / "job-archive" / name / "cluster.json"
        processes.run("cc-backend", "cluster", "add", "--config", backend.config, document)
    for path in (shared_fixtures / "jobdb").glob("job-schema10.db*"):
        shutil.copy(path, folder)
    roles = {"service": ("api",), "demo": ("admin", "api")}
    options = {name: [word for role in each for word in ("--role", role)] for name, each in roles.items()}
    tokens = {name: backend.token(name, *each, "--scope", "all") for name, each in options.items()}
    with backend.serving(), httpx.Client(base_url=backend.url, timeout=30) as client:
        for _ in range(2):  # the second time changes nothing
            processes.run("cc-backend", "import-db", "--config", backend.config, folder / "job-schema10.db")
        yield Site(client, tokens)


@pytest.mark.parametrize("cluster", TOTALS, ids=lambda name: name or "all")
def test_totals_are_those_of_the_file(site: Site, cluster: str) -> None:
    statistics = site.get(f"/api/jobs/statistics/?{f'cluster={cluster}' if cluster else ''}")["statistics"]
    assert {key: int(statistics[key]) for key in TOTALS[cluster]} == TOTALS[cluster]


def test_totals_by_cluster_add_up(site: Site) -> None:
    groups = site.get("/api/jobs/statistics/?group-by=cluster&sort-by=totalJobs")["groups"]
    assert [(group["id"], group["totalJobs"]) for group in groups] == [("alex", 303), ("fritz", 241)]
    assert sum(int(group["totalNodeHours"]) for group in groups) == 2751


def test_the_histogram_of_durations_is_that_of_the_file(site: Site) -> None:
    histogram = site.get("/api/jobs/statistics/?bins=1h")["histograms"]["duration"]
    assert (histogram["binWidth"], histogram["counts"][:5]) == (3600, [299, 50, 42, 12, 9])
    assert sum(histogram["counts"]) + histogram["beyond"] == 544


def test_jobs_are_listed_as_archived_with_their_footprints(site: Site) -> None:
    page = site.get("/api/jobs/?items-per-page=1000")
    assert (page["total"], len(page["jobs"])) == (544, 544)
    assert {(job["jobState"], job["monitoringStatus"]) for job in page["jobs"]} == {("completed", 3)}
    assert Counter(len(job["footprint"]) for job in page["jobs"]) == {6: 303, 4: 241}  # with and without accelerators
    sums: Counter[str] = Counter()
    for job in page["jobs"]:
        sums.update(job["footprint"])
    assert sums == pytest.approx(FOOTPRINT_SUMS, rel=1e-6)


def test_a_private_tag_is_seen_by_its_owner_only(site: Site) -> None:
    def seen(caller: str) -> set[tuple[str, str]]:
        jobs = site.get("/api/jobs/?items-per-page=1000", caller)["jobs"]
        return {(tag["name"], tag["scope"]) for job in jobs for tag in job.get("tags", []) if tag["type"] == "app"}

    assert seen("service") == {("vasp", "global")}
    assert seen("demo") == {("vasp", "global"), ("python", "demo")}
