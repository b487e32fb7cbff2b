"""One damaged value in any table but that of jobs: what does not need this row goes on, and nobody gains rights by it.

Rows are damaged as a hand, another version or a bad disk would do it: in the database file, past every check.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cc_backend.auth.tables import ALL as AUTH_TABLES
from cc_backend.auth.token_expiry import log_expiring_tokens
from cc_backend.jobs.tables import ALL as JOB_TABLES
from cc_backend.jobs.tables import JobRow
from cc_backend.maintenance.running_footprints import FootprintRefresher
from cc_backend.maintenance.tasks import make_archiver

PASSWORD = "correct horse battery"
DAY_S = 86400
NASTY = ("-1", "9e999", "x'00ff'", "'[null, 7]'", "'{\"admin\": 1}'", "'zzz'")
AUTH = list(AUTH_TABLES)
JOBS = [model for model in JOB_TABLES if model is not JobRow]


def damages_of(models: list[Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Table and columns to damage at once: each key by itself, all others together."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for model in models:
        table, keys = model._meta.table_name, model._meta.get_primary_keys()
        key_columns = [field.column_name for field in keys]
        found += [(table, (column,)) for column in key_columns]
        others = tuple(column for column in model._meta.columns if column not in key_columns and column != "disabled_s")
        if others:
            found.append((table, others))
    return found


@contextmanager
def damaged(path: Path, table: str, columns: tuple[str, ...], value: str, where: str = "1") -> Iterator[bool]:
    """Damage columns of some rows of a table, and put all of it back; whether anything could be damaged."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA ignore_check_constraints = on")
        # the names are those of the models
        rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608
        changes = ", ".join(f'"{column}" = {value}' for column in columns)
        try:
            changed = connection.execute(f'UPDATE OR IGNORE "{table}" SET {changes} WHERE {where}').rowcount  # noqa: S608
        except sqlite3.IntegrityError:  # a row id is a whole number
            changed = 0
        yield changed > 0
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f'DELETE FROM "{table}"')  # noqa: S608
        if rows:
            connection.executemany(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(rows[0]))})', rows)  # noqa: S608
        connection.execute("COMMIT")
    finally:
        connection.close()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "job.db"


@pytest.fixture
def busy(site: Any) -> Any:
    """A running and an archived job with tags, footprints, late hosts and an earlier configuration; node states."""
    for job_id, host in ((1, "tn01"), (2, "tn02")):
        site.start_job(
            jobId=job_id,
            resources=[{"hostname": host}],
            tags=[{"type": "kind", "name": f"n{job_id}", "scope": "global"}],
            footprint={"load_one_avg": 1.0},
        )
        site.write_node(host, from_s=int(site.clock()), minutes=11 if job_id == 1 else 5)  # the other host is late
    nodes = [{"hostname": host, "states": ["allocated"]} for host in ("tn01", "tn02")]
    site.client.post("/api/nodestate/", json={"cluster": "tern", "nodes": nodes}, headers=site.headers("api"))
    site.clock.advance(600)
    site.stop_job(job_id=2)
    site.clock.advance(700)
    make_archiver(site.services).run_once(now_s=site.services.now_s())
    assert site.services.archive_queue.incomplete_archives()
    site.user("root1", "admin", password=PASSWORD)
    assert site.client.post("/login", data={"username": "root1", "password": PASSWORD}).status_code == 303
    return site


@pytest.mark.parametrize(("table", "columns"), damages_of(JOBS))
def test_jobs_nodes_and_pages_go_on(
    busy: Any, database: Path, table: str, columns: tuple[str, ...], caplog: Any
) -> None:
    services, headers, failed = busy.services, busy.headers("api"), []
    refresher = FootprintRefresher(services.running_jobs, services.metric_data, services.clusters, services.judge)

    def answers(value: str) -> Iterator[tuple[str, int]]:
        for path in ("/", "/monitoring/jobs/?tag=kind:n1", "/monitoring/job/1"):
            yield path, busy.client.get(path).status_code
        queries = (
            "",
            "?tag=kind:n1",
            "?node=tn01",
            "?stat=load_one_avg-0-99",
            "?noTag=kind:n1",
            "statistics/?group-by=user",
        )
        for path in (*(f"/api/jobs/{query}" for query in queries), "/metrics"):
            yield path, busy.client.get(path, headers=headers).status_code
        nodes = {"cluster": "tern", "nodes": [{"hostname": "tn01", "states": ["idle"]}]}
        yield "nodestate", busy.client.post("/api/nodestate/", json=nodes, headers=headers).status_code
        start = busy.start_document(
            jobId=50 + NASTY.index(value), tags=[{"type": "kind", "name": "n1", "scope": "global"}]
        )
        yield "start", busy.client.post("/api/jobs/start_job/", json=start, headers=headers).status_code

    work: tuple[Callable[[], object], ...] = (
        services.node_states.latest,
        services.node_states.count_by_state,
        services.cluster_generations.hosts_in_use,
        lambda: services.cluster_generations.record(services.clusters, now_s=services.now_s()),
        lambda: services.cluster_generations.ever_restricted_metrics("tern"),
        lambda: services.cluster_generations.newest_with_sub_cluster("tern", "std"),
        lambda: services.cluster_generations._load(1),
        services.running_jobs.retention_holds,
        lambda: refresher.step(now_s=services.now_s(), budget_s=1e9),
        lambda: make_archiver(services).run_once(now_s=services.now_s()),
    )
    for value in NASTY:
        with damaged(database, table, columns, value) as is_damaged:
            if not is_damaged:
                continue
            failed += [(value, what, status) for what, status in answers(value) if status >= 500]
            for run in work:
                run()
            if "met a defect" in caplog.text:
                failed.append((value, "defect", caplog.text[-300:]))
                caplog.clear()
    assert failed == []


@pytest.mark.parametrize(("table", "columns"), damages_of(AUTH))
def test_others_get_in_and_nobody_gains_rights(site: Any, database: Path, table: str, columns: tuple[str, ...]) -> None:
    site.user("root1", "admin", password=PASSWORD)
    site.user("ada", "user", password=PASSWORD, full_name="Ada")
    site.user("gone", "user")
    site.services.users.remove("gone", now_s=site.clock())
    services, root, failed = site.services, site.app.test_client(), []
    assert root.post("/login", data={"username": "root1", "password": PASSWORD}).status_code == 303
    service = site.headers("api", name="service")
    ada = site.headers("user", name="ada", scopes=["read"], max_age_s=10 * DAY_S)
    site.client.get("/userapi/jobs/", headers=ada)
    services.tokens.flush_last_used()
    where = {"user": "name = 'ada'", "removed_user": "1"}.get(table, "\"user_id\" = 'ada'")
    if table == "token":
        where = "\"user\" = 'ada'"
    work: tuple[Callable[[], object], ...] = (
        services.users.list,
        services.tokens.list,
        lambda: log_expiring_tokens(services.tokens, services.now_s()),
        lambda: services.sessions.list(services.now_s()),
        services.tokens.flush_last_used,
        lambda: services.users.find_by_real_name("a"),
        lambda: services.users.disable("service", now_s=0) and services.users.enable("service"),
    )
    browser = site.app.test_client()
    assert browser.post("/login", data={"username": "ada", "password": PASSWORD}).status_code == 303
    for value in NASTY:
        with damaged(database, table, columns, value, where) as is_damaged:
            if not is_damaged:
                continue
            for who, client, path, headers, allowed in (
                ("root", root, "/", {}, {200}),
                ("root", root, "/monitoring/jobs/?q=ada", {}, {200}),
                ("service", site.client, "/api/jobs/", service, {200}),
                ("service", site.client, "/metrics", service, {200}),
                ("token", site.client, "/userapi/jobs/", ada, {200, 401, 403}),
                ("token", site.client, "/api/debug/", ada, {401, 403}),
                ("browser", browser, "/monitoring/jobs/", {}, {200, 303, 302, 401, 403}),
            ):
                status = client.get(path, headers=headers).status_code
                if status not in allowed:
                    failed.append((value, who, path, status))
            for name in ("ada", "root1"):
                status = (
                    site.app.test_client().post("/login", data={"username": name, "password": PASSWORD}).status_code
                )
                if status not in ({303} if name == "root1" else {303, 401, 403, 429}):
                    failed.append((value, "login", name, status))
            for run in work:
                run()
    assert failed == []
