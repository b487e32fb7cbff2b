"""Jobs whose samples lie in a store elsewhere: read, archived, judged, and what happens while that store is away."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cc_backend.errors import Unavailable
from cc_backend.jobdata.external_store import ExternalStore, StoreEndpoint
from cc_backend.jobdata.samples import MetricData
from cc_backend.jobdata.store_router import StoreRouter
from cc_backend.jobs.filters import JobFilter
from cc_backend.maintenance.running_footprints import FootprintRefresher
from cc_backend.maintenance.tasks import make_archiver
from cc_backend.metricstore import MetricSpec, MetricStore
from cc_backend.metricstore.query.binary_codec import MEDIA_TYPE, encode
from cc_backend.metricstore.query.execute import execute
from cc_backend.metricstore.query.protocol import parse_request
from cc_backend.model import Job, RowRule, Scope

START_S = 1_760_000_400
METRICS = {
    "tern": {"load_one": MetricSpec(60, "sum"), "flops_any": MetricSpec(60, "sum"), "mem_used": MetricSpec(30, "")}
}


class Elsewhere:
    """A store behind a real server, and the site's services changed so that they ask it for the cluster tern."""

    def __init__(self, site: Any) -> None:
        self.store = MetricStore.open(None, METRICS, now_s=START_S)
        self.asked: list[int] = []
        self.refuses = False
        self.paths: list[str] = []
        self.health: Any = None
        there = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                there.paths.append(self.path.partition("?")[0])
                if self.path.startswith("/api/healthcheck"):
                    body = json.dumps(there.health).encode()
                else:
                    request = parse_request(content)
                    there.asked.append(len(request.items))
                    body = encode(execute(request, there.store))
                self.send_response(500 if there.refuses else 200)
                self.send_header("Content-Type", MEDIA_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self._open = True
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        external = ExternalStore(StoreEndpoint("tern", url))
        services = site.services
        services.store_router = StoreRouter(services.store, [external])
        services.metric_data = MetricData(services.store_router, services.archive, services.clusters)

    def write(self, host: str, minutes: int) -> None:
        """A sample of each metric a minute, from the start on."""
        where = f"cluster=tern,hostname={host}"
        lines: list[str] = []
        for minute in range(minutes):
            time_s = START_S + minute * 60
            lines.append(f"load_one,{where} value={minute} {time_s}")
            lines.append(f"mem_used,{where} value=8 {time_s}")
            lines += [f"flops_any,{where},type=hwthread,type-id={thread} value=1 {time_s}" for thread in range(8)]
        assert self.store.ingest("\n".join(lines).encode(), received_s=START_S + minutes * 60).accepted == len(lines)

    def go_away(self) -> None:
        """Nobody listens any more."""
        if self._open:
            self._open = False
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


@pytest.fixture
def elsewhere(site: Any) -> Iterator[Elsewhere]:
    found = Elsewhere(site)
    yield found
    found.go_away()


def the_job(site: Any) -> Job:
    (job,) = site.services.job_queries.find(JobFilter(), RowRule(all_jobs=True), now_s=site.services.now_s()).jobs
    return job  # type: ignore[no-any-return]


def two_nodes(site: Any) -> None:
    site.start_job(numNodes=2, numHwthreads=16, resources=[{"hostname": "tn01"}, {"hostname": "tn02"}])


def test_its_samples_come_from_there_in_one_request_for_each_timestep(site: Any, elsewhere: Elsewhere) -> None:
    two_nodes(site)
    elsewhere.write("tn01", 3)
    elsewhere.write("tn02", 3)
    site.clock.advance(130)
    found = site.services.metric_data.read_samples(
        the_job(site), scopes=[Scope.NODE, Scope.SOCKET], now_s=site.services.now_s()
    )
    assert found.unreachable_hosts == {}
    assert [series.data.tolist() for series in found.data["load_one"][Scope.NODE].series] == [[0, 1, 2]] * 2
    sockets = found.data["flops_any"][Scope.SOCKET].series
    assert [(one.hostname, one.id, one.data[0]) for one in sockets] == [
        (host, socket, 4) for host in ("tn01", "tn02") for socket in ("0", "1")
    ]
    assert len(elsewhere.asked) == 1


def test_a_metric_that_is_not_kept_there_is_named_and_costs_no_other(site: Any, elsewhere: Elsewhere) -> None:
    two_nodes(site)
    elsewhere.write("tn01", 3)
    site.clock.advance(130)
    found = site.services.metric_data.read_samples(the_job(site), now_s=site.services.now_s())
    assert "mem_bw" in found.unreadable_metrics
    assert "load_one" in found.data


def test_a_timestep_of_its_own_is_kept(site: Any, elsewhere: Elsewhere) -> None:
    two_nodes(site)
    elsewhere.write("tn01", 2)
    site.clock.advance(70)
    metric = site.services.metric_data.read_samples(the_job(site), ["mem_used"], now_s=site.services.now_s()).data[
        "mem_used"
    ]
    assert metric[Scope.NODE].timestep_s == 30
    assert len(metric[Scope.NODE].series[0].data) == 4


def test_while_it_is_away_each_host_says_so(site: Any, elsewhere: Elsewhere) -> None:
    two_nodes(site)
    elsewhere.go_away()
    found = site.services.metric_data.read_samples(the_job(site), now_s=site.services.now_s())
    assert found.data == {}
    assert set(found.unreachable_hosts) == {"tn01", "tn02"}
    assert all("'tern'" in why for why in found.unreachable_hosts.values())
    assert site.services.store_router.unreachable_reason("tern", "std") == found.unreachable_hosts["tn01"]
    with pytest.raises(Unavailable, match="tern"):
        site.services.metric_data.read_from_store(
            the_job(site), None, lambda _: [Scope.NODE], now_s=site.services.now_s()
        )


def test_nothing_is_archived_while_it_is_away_and_everything_once_it_is_back(site: Any, elsewhere: Elsewhere) -> None:
    two_nodes(site)
    site.clock.advance(600)
    site.stop_job()
    archiver = make_archiver(site.services)
    late_s = int(site.clock() + site.services.settings.archive.late_data_s)
    elsewhere.refuses = True
    assert archiver.run_once(now_s=late_s).failed == 1, "a job without samples must not be taken for one that had none"
    elsewhere.refuses = False
    elsewhere.write("tn01", 13)
    elsewhere.write("tn02", 13)
    assert archiver.run_once(now_s=late_s + 60).archived == [the_job(site).id]
    archived = site.services.metric_data.read_samples(the_job(site), ["load_one"], now_s=late_s).data
    assert archived["load_one"][Scope.NODE].series[0].data.tolist() == list(range(11))


def test_a_job_is_archived_as_soon_as_its_hosts_were_heard_from_there(site: Any, elsewhere: Elsewhere) -> None:
    two_nodes(site)
    site.clock.advance(300)
    site.stop_job()
    archiver = make_archiver(site.services)
    elsewhere.write("tn01", 7)
    elsewhere.write("tn02", 4)
    assert archiver.run_once(now_s=site.services.now_s() + 60).waiting == 1
    elsewhere.write("tn02", 7)
    assert len(archiver.run_once(now_s=site.services.now_s() + 120).archived) == 1


def test_footprints_of_other_jobs_are_found_while_it_is_away(site: Any, elsewhere: Elsewhere) -> None:
    two_nodes(site)
    elsewhere.write("tn01", 3)
    site.clock.advance(130)
    services = site.services
    refresher = FootprintRefresher(services.running_jobs, services.metric_data, services.clusters, services.judge)
    assert len(refresher.step(now_s=services.now_s()).updated) == 1
    elsewhere.go_away()
    later = refresher.step(now_s=services.now_s() + 60)
    assert (later.examined, later.updated) == (1, [])


def test_node_reports_ask_it_once_for_the_health_of_all_hosts(site: Any, elsewhere: Elsewhere) -> None:
    """What answers here is no health: the nodes are stored all the same, as failed."""
    nodes = [{"hostname": host, "states": ["allocated"]} for host in ("tn01", "tn02", "unknown")]
    answer = site.client.post("/api/nodestate/", json={"cluster": "tern", "nodes": nodes}, headers=site.headers())
    assert answer.get_json() == {"accepted": 2, "rejected": 1, "unknownHosts": ["unknown"]}
    assert elsewhere.paths == ["/api/healthcheck"]
    assert {str(node.health) for node in site.services.node_states.latest("tern")} == {"failed"}


def test_what_it_says_of_the_health_of_hosts_is_stored(site: Any, elsewhere: Elsewhere) -> None:
    full = {"State": "full", "HealthMetrics": '{"degraded":[],"missing":[]}'}
    elsewhere.health = {"tn01": full, "tn02": {"State": "failed", "HealthMetrics": ""}}
    nodes = [{"hostname": host, "states": ["allocated"]} for host in ("tn01", "tn02")]
    site.client.post("/api/nodestate/", json={"cluster": "tern", "nodes": nodes}, headers=site.headers())
    found = {node.hostname: str(node.health) for node in site.services.node_states.latest("tern")}
    assert found == {"tn01": "full", "tn02": "failed"}
