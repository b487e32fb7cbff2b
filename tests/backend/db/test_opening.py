import builtins
from pathlib import Path
from typing import Any

import pytest

from cc_backend import migrations
from cc_backend.db.opening import database_path, open_database
from cc_backend.migrations import migrate
from cc_common.errors import SettingsError

NOW_S = 1_760_000_000


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_database_is_opened_by_path_or_address(tmp_path: Path, form: str) -> None:
    database = open_database(form.format(tmp_path / "job.db"))
    assert migrate(database, now_s=NOW_S) == len(migrations._UPGRADES)
    database.close_all()
    assert (tmp_path / "job.db").is_file()


@pytest.mark.parametrize(
    "address", ["", ":memory:", "sqlite://", "sqlite:///:memory:", "mysql://host/db", "file:x?mode=memory"]
)
def test_an_address_that_keeps_nothing_is_refused(address: str) -> None:
    with pytest.raises(SettingsError):
        open_database(address)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gone"):
        open_database(tmp_path / "gone" / "job.db")


@pytest.mark.parametrize(
    "address", ["postgresql:///name", "postgres://host/name", "postgresql://me:secret@[::1]:5432/a"]
)
def test_an_address_of_postgresql_is_no_path(address: str) -> None:
    assert database_path(address) is None


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql://host", "names no database"),
        ("postgresql://[::1/name", "is not an address"),
        ("postgresql://host/name?colour=red", "is not an address"),
    ],
)
def test_an_address_of_postgresql_that_cannot_be_is_refused(address: str, told: str) -> None:
    pytest.importorskip("psycopg2")
    with pytest.raises(SettingsError, match=told):
        open_database(address)


def test_a_password_is_not_shown() -> None:
    pytest.importorskip("psycopg2")
    database = open_database("postgresql://me:hush@localhost:5433/cockpit?sslmode=require", password="hush")
    assert database.address == "postgresql://me@localhost:5433/cockpit"


def test_nor_in_the_error_of_an_address_that_cannot_be() -> None:
    pytest.importorskip("psycopg2")
    with pytest.raises(SettingsError) as refused:
        open_database("postgresql://me:hush@[::1/cockpit")
    assert "hush" not in str(refused.value)
    assert "me:***@" in str(refused.value)


def test_without_its_library_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name == "cc_backend.db.postgres_database":
            raise ImportError(name)
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match="python3-psycopg2"):
        open_database("postgresql://localhost/cockpit")
