"""A PostgreSQL database: connections that are lost and made anew, one writer at a time, limits of time.

psycopg2 is optional: it is the extra `postgresql`, and python3-psycopg2 in distributions.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any, TypeVar

import peewee
import psycopg2
import psycopg2.extensions
import psycopg2.extras

from cc_backend.db.database import Database, Dialect, FaultKind, duplicate_row, missing_row, not_storable
from cc_backend.errors import BackendError, Unavailable
from cc_common.errors import SettingsError

MIN_VERSION = 13
UNREACHABLE_ADVICE = "the PostgreSQL server does not answer or refuses the login: look at its log, and at main.db"
_SETTING = "main.db"
_LOCK_SPACE = 0x6363_6462
"""First number of all advisory locks, so that other programs may have theirs in the same database."""
# either end notices within 20 s that the other one is gone, and the server gives up what a lost process has locked
_CONNECTION_OPTIONS = {  # those of the address come first
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
    "application_name": "cc-backend",
}
_SESSION_SETTINGS = {
    "client_encoding": "UTF8",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "idle_in_transaction_session_timeout": "60s",  # of a process that was stopped while it had the write lock
}
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")
_BATCH_ROWS = 500
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1
_DUPLICATE, _NO_SUCH_ROW = "23505", "23503"
# https://www.postgresql.org/docs/current/errcodes-appendix.html: after these the same statement may work later
_LATER = {
    "40001": "another transaction was in the way",
    "40P01": "another transaction was in the way",
    "57014": "the statement took too long; main.db-config.statement-timeout-ms sets the limit",
}
_FAULTS = {
    "53100": (FaultKind.WRITE, "the disk of the PostgreSQL server is full: free some space"),
    "53200": (FaultKind.WRITE, "the PostgreSQL server is short of memory"),
    "53300": (FaultKind.UNREACHABLE, "the PostgreSQL server has no connection left: raise its max_connections"),
    "55P03": (FaultKind.BUSY, "another process holds the database for too long: end it"),
    "25006": (FaultKind.ACCESS, "it is read-only: main.db must name the primary server"),
    "42501": (FaultKind.ACCESS, "the role lacks a right: it must own the database"),
    "58030": (FaultKind.WRITE, "the PostgreSQL server cannot read or write its disk: look at its log"),
    "XX001": (FaultKind.DAMAGED, "a table is damaged: restore a backup"),
    "XX002": (FaultKind.DAMAGED, "an index is damaged: run REINDEX"),
}
_NOT_STORABLE = frozenset(("22003", "22021", "22P05"))
_Result = TypeVar("_Result")

logger = logging.getLogger(__name__)


class AdvisoryLock(IntEnum):
    """The locks that processes on one database have beside those of rows; each is held by one at a time."""

    WRITE = 1
    """Of each transaction that writes."""
    LEADER = 2
    """Of the process that does the periodic work on the database."""
    STORE = 3
    """Of the process that has the metric store."""


class _Context(peewee.Context):
    """Writes SQL that was meant for SQLite as well."""

    def literal(self, keyword: str) -> Any:
        """The context with a part of the SQL added."""
        if keyword in (" WITHOUT ROWID", "AUTOINCREMENT"):
            return self
        return super().literal(keyword.replace("?", "%s"))


class PostgresDatabase(Database, peewee.PostgresqlDatabase):
    """One PostgreSQL database, for any number of processes."""

    dialect = Dialect.POSTGRESQL
    context_class = _Context
    # as in SQLite: texts are ordered by their bytes, and LIKE ignores the case of ASCII letters
    field_types = {**peewee.PostgresqlDatabase.field_types, "TEXT": 'TEXT COLLATE "C"'}  # noqa: RUF012 - of peewee
    _driver_error = psycopg2.Error
    _busy_advice = _FAULTS["55P03"][1]

    def __init__(
        self, url: str, *, password: str = "", busy_timeout_s: float = 60.0, statement_timeout_s: float = 60.0
    ) -> None:
        """A database by its address; `password` wins over one in the address.

        Raises:
            SettingsError: it is not the address of a database.
        """
        options = _parse_address(url)
        if password:
            options["password"] = password
        name = options.pop("dbname")
        self.has_watch = False
        """Whether a watch clears the fault UNREACHABLE: until then nobody waits for a connection."""
        self._statement_timeout_s = statement_timeout_s
        super().__init__(name, address=_describe_address(options, name), busy_timeout_s=busy_timeout_s, **options)

    def new_connection(self, *, lock_timeout_s: float, statement_timeout_s: float) -> Any:
        """A connection beside those of the threads, in autocommit mode.

        Raises:
            psycopg2.Error: the server cannot be reached or refuses the login.
            BackendError: it is too old, or its encoding is not UTF-8.
        """
        connection = psycopg2.connect(dbname=self.database, **self.connect_params)
        try:
            connection.autocommit = True
            _require_usable(connection)
            psycopg2.extensions.register_type(_NUMBER, connection)
            settings = {
                **_SESSION_SETTINGS,
                "lock_timeout": f"{lock_timeout_s * 1000:.0f}ms",
                "statement_timeout": f"{statement_timeout_s * 1000:.0f}ms",
            }
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(['set_config(%s, %s, false)'] * len(settings))}", _pairs(settings))
        except BaseException:
            connection.close()
            raise
        return connection

    def insert_row(self, sql: str, values: Sequence[Any]) -> int:
        """Insert one row by an SQL statement into a table whose key is `id`, and return its id; inside `write`."""
        row = self.first_row(f"{sql} RETURNING id", *values)
        if row is None:
            raise BackendError("an inserted row has no id")
        return int(row[0])

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run an SQL statement once per row of parameters; inside `write`."""
        checked = [_checked(row, is_write=True) for row in rows]
        with self._errors_translated():
            connection: Any = self.connection()  # type: ignore[no-untyped-call]  # stubs lack it
            with connection.cursor() as cursor:
                psycopg2.extras.execute_batch(cursor, self._placeholders(sql), checked, page_size=_BATCH_ROWS)

    def reserve_ids(self, model: type[peewee.Model], count: int) -> Sequence[int]:
        """Unused ids for new rows of a model, ascending; inside `write`."""
        meta: Any = model._meta  # noqa: SLF001 - peewee's documented way
        cursor = self._execute_cursor(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            (f'"{meta.table_name}"', meta.primary_key.column_name, count),
        )
        return sorted(id_ for (id_,) in cursor)

    def lift_time_limits(self) -> None:
        """Let statements take any time until the transaction ends, as those of a migration may; inside `write`."""
        self.first_row("SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)")

    @contextmanager
    def _write_transaction(self) -> Iterator[None]:
        with self.atomic():
            self.first_row("SELECT pg_advisory_xact_lock(?, ?)", _LOCK_SPACE, AdvisoryLock.WRITE.value)
            yield
            has_written = self.has_fault(FaultKind.WRITE) and self.first_row("SELECT pg_current_xact_id_if_assigned()")
        if has_written and has_written[0] is not None:  # a transaction without changes succeeds even on a full disk
            self.clear_fault(FaultKind.WRITE)

    def _placeholders(self, sql: str) -> str:
        return sql.replace("%", "%%").replace("?", "%s")

    # Connections

    def begin(self, isolation_level: Any = None) -> None:
        """As in peewee, with errors translated, and with a new connection if the present one was lost."""
        with self._errors_translated():
            self._with_reconnect(lambda: super(PostgresDatabase, self).begin(isolation_level))

    def commit(self) -> None:
        """As in peewee, with errors translated."""
        with self._errors_translated():
            super().commit()
        self._faults.pop(FaultKind.BUSY, None)

    def rollback(self) -> None:
        """As in peewee, but no error if the connection was lost: the server has rolled back then."""
        if self.is_closed() or self._is_lost():
            return
        with suppress(Unavailable), self._errors_translated():
            super().rollback()

    def _connect(self) -> Any:
        self._before_connecting()
        if self.has_watch and self.has_fault(FaultKind.UNREACHABLE):
            raise self._unavailable(self._faults.get(FaultKind.UNREACHABLE, UNREACHABLE_ADVICE))
        try:
            connection = self.new_connection(
                lock_timeout_s=self.busy_timeout_s, statement_timeout_s=self._statement_timeout_s
            )
        except psycopg2.OperationalError as error:
            self.record_fault(FaultKind.UNREACHABLE, UNREACHABLE_ADVICE, _first_line(error))
            raise self._unavailable(UNREACHABLE_ADVICE) from error
        self.clear_fault(FaultKind.UNREACHABLE)
        self._keep_connection(connection)
        return connection

    def _execute_cursor(self, sql: str, params: Any, **cursor_options: Any) -> Any:
        is_write = self.in_transaction()
        values = _checked(params or (), is_write=is_write)

        def execute() -> Any:
            return super(PostgresDatabase, self)._execute_cursor(sql, values, **cursor_options)

        with self._errors_translated():
            return execute() if is_write else self._with_reconnect(execute)

    def _with_reconnect(self, attempt: Callable[[], _Result]) -> _Result:
        """The result of the attempt, which is made again with a new connection if the present one turns out lost."""
        try:
            return attempt()
        except (peewee.PeeweeException, psycopg2.Error):
            if not self._is_lost():
                raise
        self._drop_connection()
        return attempt()

    def _is_lost(self) -> bool:
        state = self._state  # type: ignore[attr-defined]  # stubs lack it
        return not state.closed and state.conn.closed != 0

    def _drop_connection(self) -> None:
        state = self._state  # type: ignore[attr-defined]  # stubs lack it
        self._forget_connection(state.conn)
        state.reset()

    def _raise_translated(self, cause: BaseException, error: BaseException) -> None:
        code = getattr(cause, "pgcode", None)
        if self._is_lost():
            self.record_fault(FaultKind.UNREACHABLE, UNREACHABLE_ADVICE, _first_line(cause))
            if not self.in_transaction():
                self._drop_connection()
            raise self._unavailable(UNREACHABLE_ADVICE) from error
        if code in _FAULTS:
            kind, advice = _FAULTS[code]
            self.record_fault(kind, advice, _first_line(cause))
            raise self._unavailable(advice) from error
        if code in _LATER:
            logger.warning("statement failed and may work later database=%s error=%s", self.address, _first_line(cause))
            raise self._unavailable(_LATER[code]) from error
        if code == _DUPLICATE:
            raise duplicate_row() from error
        if code == _NO_SUCH_ROW:
            raise missing_row() from error
        if code in _NOT_STORABLE:
            raise not_storable() from error


def try_advisory_lock(cursor: Any, lock: AdvisoryLock) -> bool:
    """Whether the session of a cursor has got an advisory lock, which it holds until it ends."""
    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_SPACE, lock.value))
    return bool(cursor.fetchone()[0])


def is_lock_free(cursor: Any, lock: AdvisoryLock) -> bool:
    """Whether no session holds an advisory lock at this moment."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (_LOCK_SPACE, lock.value))
    return bool(cursor.fetchone()[0])


def _parse_address(url: str) -> dict[str, Any]:
    try:
        options = {**_CONNECTION_OPTIONS, **psycopg2.extensions.parse_dsn(url)}
    except psycopg2.ProgrammingError as error:
        text = _URL_PASSWORD.sub(r"\1:***@", _first_line(error))
        raise SettingsError(_SETTING, f"{_SETTING} is not an address of PostgreSQL: {text}") from None
    if not options.get("dbname"):
        raise SettingsError(_SETTING, f"{_SETTING} names no database: postgresql://user@host:port/name")
    return options


def _describe_address(options: dict[str, Any], name: str) -> str:
    user, port = options.get("user"), options.get("port")
    return f"postgresql://{f'{user}@' if user else ''}{options.get('host', '')}{f':{port}' if port else ''}/{name}"


def _require_usable(connection: Any) -> None:
    if connection.server_version < MIN_VERSION * 10_000:
        raise BackendError(
            f"PostgreSQL {MIN_VERSION} or newer is needed; the server is {connection.server_version // 10_000}"
        )
    encoding = connection.get_parameter_status("server_encoding")
    if encoding != "UTF8":
        raise BackendError(f"the database has the encoding {encoding}; make it with `createdb --encoding UTF8`")


def _checked(parameters: Iterable[Any], *, is_write: bool) -> list[Any]:
    """Parameters that PostgreSQL takes.

    Raises InvalidInput for integers of more than 64 bits, and for a zero byte in a text that is to be written. One that
    is only compared is replaced by a character that stands for none: it equals no stored text.
    """
    checked = []
    for value in parameters:
        if isinstance(value, str) and "\0" in value:
            if is_write:
                raise not_storable()
            checked.append(value.replace("\0", "\ufffd"))
        elif isinstance(value, int) and not _MIN_INTEGER <= value <= _MAX_INTEGER:
            raise not_storable()
        else:
            checked.append(value)
    return checked


def _pairs(settings: dict[str, str]) -> list[str]:
    return [part for pair in settings.items() for part in pair]


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _read_number(text: str | None, _: object) -> int | float | None:
    """A NUMERIC, such as a sum of integers, as SQLite has it."""
    if text is None:
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


_NUMBER = psycopg2.extensions.new_type((1700,), "NUMBER", _read_number)
