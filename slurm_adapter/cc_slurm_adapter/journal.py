"""The adapter's persistent state: runs of jobs, and events that wait to be sent, in one SQLite file.

A database and not a log, because a run and its event must be recorded atomically, and because it needs no compaction.
Every change is on disk when the method returns (write-ahead log, synchronous FULL): after kill -9 the journal has the
state before or after a call.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from cc_slurm_adapter.errors import JournalError
from cc_slurm_adapter.slurm_model import RunKey

START, STOP = "start", "stop"
WAITING, SENT, PARKED = "waiting", "sent", "parked"

_BATCH = 500
_BUSY_S = 60.0
_SCHEMAS = (
    """
CREATE TABLE run (
    cluster TEXT NOT NULL, job_id INTEGER NOT NULL, start_time INTEGER NOT NULL,
    submit_time INTEGER NOT NULL, restart_count INTEGER, end_time INTEGER,
    absent_since INTEGER, absences INTEGER NOT NULL DEFAULT 0, start_body TEXT NOT NULL,
    PRIMARY KEY (cluster, job_id, start_time)
) WITHOUT ROWID;
CREATE INDEX run_open ON run (cluster) WHERE end_time IS NULL;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster TEXT NOT NULL, job_id INTEGER NOT NULL, start_time INTEGER NOT NULL,
    kind TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '', made_s INTEGER NOT NULL,
    UNIQUE (cluster, job_id, start_time, kind)
);
CREATE INDEX event_waiting ON event (cluster, job_id, id) WHERE state = 'waiting';
CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
""",
    """
ALTER TABLE run ADD COLUMN user TEXT NOT NULL DEFAULT '';
CREATE INDEX event_waiting_in_order ON event (id) WHERE state = 'waiting';
""",
)
"""The migration from each version of the file to the next; existing entries are never changed."""


@dataclass(frozen=True)
class JobRun:
    """A recorded run; `end_time` is None while it is open; `missed_polls` counts polls in a row without it."""

    key: RunKey
    submit_time: int = 0
    restart_count: Optional[int] = None
    end_time: Optional[int] = None
    absent_since: Optional[int] = None
    missed_polls: int = 0
    user: str = ""

    @property
    def open(self) -> bool:
        """Whether its end is unknown."""
        return self.end_time is None


@dataclass(frozen=True)
class StoredEvent:
    """An event that waits to be sent."""

    number: int
    key: RunKey
    kind: str
    body: str
    tries: int


@dataclass(frozen=True)
class EventCounts:
    """The number of events in each state."""

    waiting: int
    sent: int
    parked: int


class Journal:
    """The journal in a file. All methods raise JournalError if it cannot be used; one process at a time may open it.

    An instance is not thread-safe: the polling and the delivery thread have one each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._database = sqlite3.connect(str(path), isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"journal {path} cannot be opened: {error}") from error
        try:
            with self._translate_errors():
                self._migrate()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def open_runs(self, cluster: str) -> List[JobRun]:
        """All runs of a cluster whose end is unknown."""
        return self._select_runs("cluster = ? AND end_time IS NULL", [cluster])

    def runs_of(self, cluster: str, job_ids: Iterable[int]) -> List[JobRun]:
        """All recorded runs of these jobs."""
        ids = sorted(set(job_ids))
        found: List[JobRun] = []
        for start in range(0, len(ids), _BATCH):
            part = ids[start : start + _BATCH]
            marks = ",".join("?" * len(part))
            found += self._select_runs(f"cluster = ? AND job_id IN ({marks})", [cluster, *part])
        return found

    def record_start(self, run: JobRun, body: Mapping[str, Any], *, now_s: int) -> None:
        """Record a run and queue its start event; without effect for a recorded run."""
        text = json.dumps(body, separators=(",", ":"))
        with self._transaction() as database:
            added = database.execute(
                "INSERT OR IGNORE INTO run (cluster, job_id, start_time, submit_time, restart_count, start_body, user)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*run.key, run.submit_time, run.restart_count, text, run.user),
            )
            if added.rowcount:
                self._queue_event(run.key, START, text, now_s)

    def record_stop(self, key: RunKey, end_time: int, body: Mapping[str, Any], *, now_s: int) -> None:
        """Record the end of a run and queue its stop event; without effect for a run that is not open."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE run SET end_time = ? WHERE cluster = ? AND job_id = ? AND start_time = ? AND end_time IS NULL",
                (end_time, *key),
            )
            if changed.rowcount:
                self._queue_event(key, STOP, json.dumps(body, separators=(",", ":")), now_s)

    def record_missed_polls(self, key: RunKey, absent_since: Optional[int], count: int) -> None:
        """Record in how many polls in a row, and since when, an open run was missing."""
        with self._transaction() as database:
            database.execute(
                "UPDATE run SET absent_since = ?, absences = ? WHERE cluster = ? AND job_id = ? AND start_time = ?",
                (absent_since, count, *key),
            )

    def waiting(self) -> Iterator[StoredEvent]:
        """All waiting events in the order they were queued; their state may be changed during iteration."""
        last = -1
        while True:
            with self._translate_errors():
                rows = self._database.execute(
                    "SELECT id, cluster, job_id, start_time, kind, body, tries FROM event"
                    " WHERE state = 'waiting' AND id > ? ORDER BY id LIMIT ?",
                    (last, _BATCH),
                ).fetchall()
            for number, cluster, job_id, start, kind, body, tries in rows:
                yield StoredEvent(number, RunKey(cluster, job_id, start), kind, body, tries)
                last = number
            if len(rows) < _BATCH:
                return

    def oldest_waiting(self) -> List[int]:
        """The number of the oldest waiting event of each job; the others of that job wait for it."""
        with self._translate_errors():
            rows = self._database.execute(
                "SELECT min(id) FROM event WHERE state = 'waiting' GROUP BY cluster, job_id"
            ).fetchall()
        return [number for (number,) in rows]

    def set_event_state(self, number: int, state: str, reason: str = "") -> None:
        """Set the state of an event to sent, or to parked with a reason."""
        with self._transaction() as database:
            database.execute("UPDATE event SET state = ?, reason = ? WHERE id = ?", (state, reason, number))

    def postpone(self, number: int, reason: str) -> None:
        """Count a failed try of an event, which stays queued."""
        with self._transaction() as database:
            database.execute("UPDATE event SET tries = tries + 1, reason = ? WHERE id = ?", (reason, number))

    def start_event_of(self, key: RunKey) -> Optional[Tuple[str, str]]:
        """State and body of the start event of a run; None if there is none."""
        with self._translate_errors():
            row = self._database.execute(
                "SELECT state, body FROM event WHERE cluster = ? AND job_id = ? AND start_time = ? AND kind = 'start'",
                key,
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def send_again(self, key: RunKey) -> bool:
        """Queue the sent start event of a run again; whether there is one."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE event SET state = 'waiting', reason = 'the backend did not know it'"
                " WHERE cluster = ? AND job_id = ? AND start_time = ? AND kind = 'start' AND state = 'sent'",
                key,
            )
            return changed.rowcount > 0

    def retry_parked(self) -> int:
        """Queue all parked events again, in their old order; their number."""
        with self._transaction() as database:
            return database.execute("UPDATE event SET state = 'waiting', tries = 0 WHERE state = 'parked'").rowcount

    def newest_parked(self, limit: int = 20) -> List[Tuple[RunKey, str, str]]:
        """The newest parked events, `limit` at most: run, kind, reason."""
        with self._translate_errors():
            rows = self._database.execute(
                "SELECT cluster, job_id, start_time, kind, reason FROM event WHERE state = 'parked'"
                " ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [(RunKey(cluster, job_id, start), kind, reason) for cluster, job_id, start, kind, reason in rows]

    def counts(self) -> EventCounts:
        """The numbers of waiting, sent and parked events."""
        with self._translate_errors():
            rows: Dict[str, int] = dict(
                self._database.execute("SELECT state, count(*) FROM event GROUP BY state").fetchall()
            )
        return EventCounts(rows.get(WAITING, 0), rows.get(SENT, 0), rows.get(PARKED, 0))

    def get_note(self, name: str) -> Optional[str]:
        """The value of a note; None if there is none."""
        with self._translate_errors():
            row = self._database.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_note(self, name: str, value: str) -> None:
        """Set the value of a note."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))

    def prune(self, before_s: int) -> int:
        """Delete runs that ended before this time and have no waiting event; their number."""
        with self._transaction() as database:
            gone = database.execute(
                "DELETE FROM run WHERE end_time < ? AND NOT EXISTS (SELECT 1 FROM event WHERE state = 'waiting'"
                " AND event.cluster = run.cluster AND event.job_id = run.job_id"
                " AND event.start_time = run.start_time)",
                (before_s,),
            ).rowcount
            database.execute(
                "DELETE FROM event WHERE state != 'waiting' AND NOT EXISTS (SELECT 1 FROM run"
                " WHERE event.cluster = run.cluster AND event.job_id = run.job_id"
                " AND event.start_time = run.start_time)"
            )
        return gone

    def _migrate(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_SCHEMAS):
            raise JournalError(f"journal {self._path} was written by a newer version; use that, or another folder")
        for number, step in enumerate(_SCHEMAS[version:], version + 1):
            self._database.executescript(f"BEGIN IMMEDIATE;{step}PRAGMA user_version = {number};COMMIT;")

    def _queue_event(self, key: RunKey, kind: str, body: str, now_s: int) -> None:
        self._database.execute(
            "INSERT INTO event (cluster, job_id, start_time, kind, body, state, made_s)"
            " VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
            (*key, kind, body, now_s),
        )

    def _select_runs(self, condition: str, values: Sequence[Any]) -> List[JobRun]:
        query = (  # conditions are constants of this module, values are bound parameters
            "SELECT cluster, job_id, start_time, submit_time, restart_count, end_time, absent_since, absences, user"  # noqa: S608 see above
            f" FROM run WHERE {condition} ORDER BY job_id, start_time"
        )
        with self._translate_errors():
            rows = self._database.execute(query, values).fetchall()
        return [JobRun(RunKey(cluster, job_id, start), *rest) for cluster, job_id, start, *rest in rows]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction; nested calls belong to the outer one."""
        with self._translate_errors():
            if self._database.in_transaction:
                yield self._database
                return
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes inside atomic."""
        with self._transaction():
            yield

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(f"journal {self._path} cannot be used: {error}") from error
