"""A page of the database is damaged: the server starts with what can be read, and says so."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cc_backend.jobs.tables import JobHostRow

# what a start reads, beside the version of the schema, without which nothing can be done
READ_AT_THE_START = (
    "job",
    "job_host",
    "jobrow_state_start_time",
    "jobrow_cluster_start_time",
    "cluster_config",
    "clusterconfigrow_cluster_digest",
)


def overwrite(path: Path, table: str) -> None:
    """Put zeros in place of the first page of a table or an index."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))


@pytest.mark.parametrize("table", READ_AT_THE_START)
def test_the_server_starts_says_so_and_takes_samples(
    site: Any, site_of: Callable[..., Any], tmp_path: Path, table: str
) -> None:
    site.start_job()
    headers = site.headers("api")
    site.services.close()
    overwrite(tmp_path / "job.db", table)
    damaged = site_of()
    assert damaged.services.database.faults() == ["the database is damaged: the file is damaged: restore a backup"]
    assert damaged.client.get("/healthz").status_code == 503
    line = f"load_one,cluster=tern,hostname=tn01 value=1 {int(site.clock())}"
    assert damaged.client.post("/api/write/", data=line, headers=headers).status_code == 200


def test_a_host_that_is_no_name_is_left_out_at_the_start(site: Any, site_of: Callable[..., Any]) -> None:
    id_ = site.start_job()
    with site.services.database.write():
        JobHostRow.insert(job=id_, hostname=b"\xff\x00").execute(site.services.database)
    site.services.close()
    (held,) = site_of().services.cluster_generations.hosts_in_use()
    assert "tn01" in held.hosts


def test_a_database_of_which_not_even_the_version_can_be_read_is_refused_in_one_line(
    site: Any, site_of: Callable[..., Any], tmp_path: Path
) -> None:
    site.services.close()
    shutil.copy(tmp_path / "job.db", tmp_path / "kept.db")
    overwrite(tmp_path / "job.db", "schema_version")
    with pytest.raises(Exception, match="the file is damaged: restore a backup"):
        site_of()
