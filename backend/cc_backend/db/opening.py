"""Opens the database that an address names: an SQLite file, or a PostgreSQL database."""

from pathlib import Path
from urllib.parse import unquote

from cc_backend.db.database import Database
from cc_backend.db.sqlite_database import SqliteDatabase
from cc_common.errors import SettingsError

_SETTING = "main.db"
_SQLITE_SCHEME = "sqlite://"
_POSTGRES_SCHEMES = ("postgresql://", "postgres://")


def open_database(
    url_or_path: str | Path,
    *,
    password: str = "",
    busy_timeout_s: float = 10.0,
    statement_timeout_s: float = 60.0,
    cache_size_mb: int = 16,
    writer_cache_mb: int | None = None,
) -> Database:
    """The database at a path, `sqlite:///path` or `postgresql://user@host:port/name`.

    A missing file is created, a missing folder or PostgreSQL database is not. `password` and `statement_timeout_s` are
    for PostgreSQL, `cache_size_mb` is for SQLite, per thread that uses the database; the one connection that writes has
    `writer_cache_mb` if that is given.

    Raises:
        SettingsError: the address names another engine, or no database, or the engine's library is not installed.
    """
    path = database_path(url_or_path)
    if path is None:
        try:
            from cc_backend.db.postgres_database import PostgresDatabase  # noqa: PLC0415 - psycopg2 is optional
        except ImportError as error:
            text = f"{_SETTING}: PostgreSQL needs psycopg2: install python3-psycopg2, or clustercockpit[postgresql]"
            raise SettingsError(_SETTING, text) from error
        return PostgresDatabase(
            str(url_or_path),
            password=password,
            busy_timeout_s=busy_timeout_s,
            statement_timeout_s=statement_timeout_s,
        )
    if not path.parent.is_dir():
        raise SettingsError(_SETTING, f"the folder {path.parent} of the database does not exist; create it")
    return SqliteDatabase(
        path, busy_timeout_s=busy_timeout_s, cache_size_mb=cache_size_mb, writer_cache_mb=writer_cache_mb
    )


def database_path(url_or_path: str | Path) -> Path | None:
    """The file that a path or an address names, None for a PostgreSQL database.

    Raises:
        SettingsError: it is the address of another engine, or of no file.
    """
    text = str(url_or_path)
    if text.startswith(_POSTGRES_SCHEMES):
        return None
    if text.startswith(_SQLITE_SCHEME):
        text = unquote(text.removeprefix(_SQLITE_SCHEME).removeprefix("/"))
    elif "://" in text:
        scheme = text.split("://", 1)[0]
        raise SettingsError(_SETTING, f"{scheme}:// is not supported; use a path, sqlite:///path or postgresql://")
    if not text or text == ":memory:" or text.startswith("file:"):
        raise SettingsError(_SETTING, f"'{url_or_path}' names no file; the database needs one")
    return Path(text)
