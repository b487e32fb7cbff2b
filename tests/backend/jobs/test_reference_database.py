"""Opening job databases of ClusterCockpit 1.5, and files that are none."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cc_backend.errors import InvalidInput
from cc_backend.jobs.reference_database import JOB_COLUMNS, MAX_VALUE_BYTES, open_reference_database


@pytest.mark.parametrize("schema", [10, 11])
def test_both_schemas_are_read(reference_files: Any, tmp_path: Path, schema: int) -> None:
    file = reference_files.ReferenceFile(tmp_path / "old.db", schema)
    file.add_job(7)
    with open_reference_database(file.close()) as reference:
        ((row,),) = reference.job_batches("job")
        assert (reference.version, reference.count("job"), row[JOB_COLUMNS.index("job_id")]) == (schema, 1, 7)


def test_the_file_is_not_changed(reference_files: Any, tmp_path: Path) -> None:
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    file.add_job()
    before = file.close().read_bytes()
    with open_reference_database(file.path) as reference:
        assert len(list(reference.job_batches("job"))) == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reference._connection.execute("DELETE FROM job")
    assert file.path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]


def test_what_a_running_server_wrote_last_is_read_from_its_log(reference_files: Any, tmp_path: Path) -> None:
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    file.run("PRAGMA journal_mode = wal")
    file.add_job()
    with open_reference_database(file.path) as reference:
        file.add_job(2)
        assert reference.count("job") == 1  # as it was when the import began
    file.close()


def test_a_batch_has_a_limit_in_rows_and_in_bytes(
    reference_files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.jobs.reference_database.BATCH_ROWS", 3)
    monkeypatch.setattr("cc_backend.jobs.reference_database.MAX_BATCH_BYTES", 5000)
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    for number in range(7):
        file.add_job(number + 1)
    file.add_job(8, meta_data={"jobScript": "x" * 6000})
    file.add_job(9)
    with open_reference_database(file.close()) as reference:
        assert [len(batch) for batch in reference.job_batches("job")] == [3, 3, 2, 1]


def test_a_value_without_end_is_cut(reference_files: Any, tmp_path: Path) -> None:
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    file.add_job(meta_data="x" * (MAX_VALUE_BYTES + 10))
    with open_reference_database(file.close()) as reference:
        ((row,),) = reference.job_batches("job")
    assert len(row[JOB_COLUMNS.index("meta_data")]) == MAX_VALUE_BYTES


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE schema_migrations SET version = 9", "of schema 9"),
        ("UPDATE schema_migrations SET version = 12", "of schema 12"),
        ("UPDATE schema_migrations SET version = 'x'", "of schema x"),
        ("UPDATE schema_migrations SET dirty = 1", "in the middle of an upgrade"),
        ("DELETE FROM schema_migrations", "of schema None"),
        ("INSERT INTO schema_migrations VALUES (11, 0)", "of schema None"),
        ("DROP TABLE jobtag", "no table jobtag"),
        ("DROP TABLE schema_migrations", "no table schema_migrations"),
    ],
)
def test_another_schema_is_refused_with_what_to_do(reference_files: Any, tmp_path: Path, sql: str, said: str) -> None:
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    file.run(sql)
    with pytest.raises(InvalidInput, match=said), open_reference_database(file.close()):
        pass


def test_a_database_of_this_program_is_refused(empty_database: Path) -> None:
    with pytest.raises(InvalidInput, match="of this program"), open_reference_database(empty_database):
        pass


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    for content, said in (
        (None, "there is no such file"),
        (b"x" * 4096, "is not an SQLite database"),
        (b"", "no table"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InvalidInput, match=said), open_reference_database(path):
            pass
    with pytest.raises(InvalidInput, match="no such file"), open_reference_database(tmp_path):
        pass


def test_a_name_with_characters_of_addresses_is_a_name(reference_files: Any, tmp_path: Path) -> None:
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    file.add_job()
    odd = tmp_path / "a?mode=rwc&x=%20#.db"
    shutil.copy(file.close(), odd)
    with open_reference_database(odd) as reference:
        assert reference.count("job") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [odd.name, "old.db"]


def test_a_damaged_page_ends_the_reading_with_advice(reference_files: Any, tmp_path: Path) -> None:
    file = reference_files.ReferenceFile(tmp_path / "old.db")
    file.add_all("job", [reference_files.job_columns(number) for number in range(1, 400)])
    path = file.close()
    with path.open("r+b") as raw:
        raw.seek(path.stat().st_size - 12 * 4096)
        raw.write(b"\xff" * 6 * 4096)
    with (
        pytest.raises(InvalidInput, match="recover"),
        open_reference_database(path) as reference,
    ):
        for _ in reference.job_batches("job"):
            pass
