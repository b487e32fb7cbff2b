"""A request makes the grid of each curve once, whoever uses it: judgement, plots, summary, table or document."""

from collections import Counter
from typing import Any

import pytest

from cc_backend.insight import job_curves
from cc_backend.model import JobMetric

Site = Any
PASSWORD = "a long enough one"


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often the grid of each set of series was made; the series are kept, so that no id is used again."""
    made: Counter[int] = Counter()
    kept = []
    matrix = job_curves.matrix

    def counted(metric: JobMetric) -> Any:
        if metric.series:
            made[id(metric.series)] += 1
            kept.append(metric.series)
        return matrix(metric)

    monkeypatch.setattr(job_curves, "matrix", counted)
    return made


@pytest.fixture
def job_id(site: Site) -> int:
    """An archived job of two nodes with seven metrics; somebody of the support staff is signed in."""
    hosts = [{"hostname": "tn01"}, {"hostname": "tn02"}]
    id_: int = site.archived_job(minutes=10, numNodes=2, resources=hosts, numHwthreads=16)
    site.user("hbrandt", "support", password=PASSWORD)
    site.client.post("/login", data={"username": "hbrandt", "password": PASSWORD, "redirect": "/"})
    return id_


@pytest.mark.parametrize("scope", ["node", "socket"])
@pytest.mark.parametrize("path", ["", "/data"])
def test_a_request_for_a_job_makes_each_grid_once(
    site: Site, job_id: int, grids: Counter[int], path: str, scope: str
) -> None:
    assert site.client.get(f"/monitoring/job/{job_id}{path}?scope={scope}").status_code == 200
    assert len(grids) >= 6
    assert set(grids.values()) == {1}


def test_the_table_of_a_plot_makes_one_grid(site: Site, job_id: int, grids: Counter[int]) -> None:
    assert site.client.get(f"/monitoring/job/{job_id}/series/load_one").status_code == 200
    assert sum(grids.values()) == 1
