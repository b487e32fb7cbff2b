"""A PostgreSQL server of the tests, on loopback and in a temporary folder; tests/conftest.py makes it a fixture."""

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

ROLE, PASSWORD = "cockpit", "p@ss:w/rd"
_START_S = 60.0
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "max_connections": "100",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
    "lc_messages": "C",
}

_END_CONNECTIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
"""
_EMPTY_TABLES = """
    DO $$ BEGIN EXECUTE (
        SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') || ' RESTART IDENTITY' FROM pg_tables
        WHERE schemaname = 'public' AND tablename NOT IN ('schema_version', 'installation')
    ); END $$
"""


def programs() -> Path | None:
    """The folder of the newest PostgreSQL server that is installed, None without one."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found += [Path(path).parent for path in (shutil.which("initdb"),) if path]
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()], default=None)


class PostgresServer:
    """A running server; `new_database` makes databases on it."""

    def __init__(self, bin_folder: Path, **options: str) -> None:
        """A server with these options of postgresql.conf in place of ours."""
        self._bin = bin_folder
        self._numbers = itertools.count(1)
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self._data = self.folder / "data"
        self._user = ""
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in names else "nobody"
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        self._run(
            *("initdb", "--pgdata", self._data, "--username", ROLE, "--pwfile", password_file, "--no-sync"),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in {**_OPTIONS, **options}.items())
            file.write(f"unix_socket_directories = '{self.folder}'\n")
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix(), str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        end_s = time.monotonic() + _START_S
        while self._try("pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(self.port)):
            if self._process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server and end all connections; `kill` leaves it no time to do so."""
        process, self._process = self._process, None
        if process is not None:
            (process.kill if kill else lambda: process.send_signal(2))()
            process.wait(_START_S)

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str, *, with_password: bool = True) -> str:
        """The address of a database."""
        password = f":{quote(PASSWORD, safe='')}" if with_password else ""
        return f"postgresql://{ROLE}{password}@127.0.0.1:{self.port}/{name}"

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database, empty or a copy of another one."""
        name = f"db{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and end its connections."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def empty_database(self, name: str) -> None:
        """End the connections to a database of the backend, and remove all rows that a test has left."""
        self.execute(_END_CONNECTIONS + _EMPTY_TABLES, name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as the owner of the server."""
        import psycopg2  # noqa: PLC0415 - optional

        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def _prefix(self) -> list[str]:
        prefix = ["setpriv", "--pdeathsig", "INT"]  # it ends with the tests, even if these are killed
        if self._user:
            entry = pwd.getpwnam(self._user)
            prefix += [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        return prefix

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self._prefix(), str(self._bin / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")

    def _try(self, program: str, *arguments: str) -> int:
        return subprocess.run([str(self._bin / program), *arguments], capture_output=True, check=False).returncode


@contextlib.contextmanager
def running_server(bin_folder: Path, **options: str) -> Iterator[PostgresServer]:
    """A server that is stopped in the end."""
    server = PostgresServer(bin_folder, **options)
    try:
        yield server
    finally:
        server.close()


def _free_port() -> int:
    """A port that the kernel gives to no connection while the server is down."""
    chance = secrets.SystemRandom()
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = chance.randrange(10_000, 27_000)
            probe.bind(("127.0.0.1", port))
            return port
