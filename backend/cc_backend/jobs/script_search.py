"""The search for a part of a job script, by an index of trigrams where the database has one.

SQLite's is FTS5 with the tokenizer `trigram`, which finds candidates whose texts are then compared. New scripts get
there in the background: what is not there yet is read one by one. PostgreSQL's is pg_trgm. Without either all texts
are read, which the log says.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import peewee

from cc_backend.db.database import Database, Dialect
from cc_backend.errors import BackendError
from cc_backend.jobs.damaged_rows import read_columns
from cc_backend.jobs.job_scripts import link_scripts, script_of
from cc_backend.jobs.tables import JobRow, JobScriptRow, ScriptProgressRow, ScriptRow

MIN_PART = 3
"""Characters that a part must have: indexes are of trigrams."""
INDEXED_AT_ONCE = 20
LINKED_AT_ONCE = 100
BATCHES_PER_RUN = 50
_REMOVED_AT_ONCE = 50
_MAX_TRIGRAMS = 8
_MAX_ANSWERS = 64
_BATCH = 900  # variables in a statement
_SQLITE_INDEX = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS script_search USING fts5"
    "(text, content='script', content_rowid='id', tokenize='trigram', detail='none')"
)
_UNINDEX = "INSERT INTO script_search (script_search, rowid, text) VALUES ('delete', ?, ?)"
_POSTGRES_INDEX = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX IF NOT EXISTS script_text_trigrams ON script USING gin (text gin_trgm_ops)",
)

logger = logging.getLogger(__name__)

Numbers = npt.NDArray[np.int64]


def create_script_index(database: Database) -> bool:
    """Create the index of trigrams, and return whether that was possible; inside `write`."""
    statements = (_SQLITE_INDEX,) if database.dialect is Dialect.SQLITE else _POSTGRES_INDEX
    try:
        with database.write():  # a savepoint: the upgrade goes on without
            for statement in statements:
                database.run_sql(statement)
    except (peewee.DatabaseError, BackendError) as error:
        logger.warning(
            "no index for the search in job scripts, each search reads all of them: database=%s error=%s",
            database.address,
            str(error).strip().partition("\n")[0],
        )
        return False
    return True


class ScriptSearch:
    """Finds the numbers of scripts; the answers to the last questions are kept, and completed by new scripts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[int, Numbers]] = OrderedDict()
        self._has_index: bool | None = None

    def reset(self) -> None:
        """Forget everything: the file of the database was replaced."""
        with self._lock:
            self._answers.clear()
            self._has_index = None

    def containing(self, part: str) -> Numbers:
        """The ascending numbers of the scripts with this part, upper and lower case of ASCII letters being the same."""
        key = part.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
        newest = self._first("SELECT MAX(id) FROM script")
        with self._lock:
            seen, found = self._answers.get(key, (0, np.zeros(0, np.int64)))
        if newest > seen:
            new = sorted(self._find(part, seen))
            found = np.concatenate([found, np.array(new, np.int64)])
            with self._lock:
                self._answers[key] = max(newest, int(found[-1]) if len(found) else 0), found
                while len(self._answers) > _MAX_ANSWERS:
                    self._answers.popitem(last=False)
        return found

    def among(self, part: str, numbers: Iterable[int]) -> Numbers:
        """Those of these scripts that have this part; reads all of them, and no other one."""
        numbers, found = list(numbers), []
        for begin in range(0, len(numbers), _BATCH):
            some = ScriptRow.id.in_(numbers[begin : begin + _BATCH])
            found += self._numbers(ScriptRow.select(ScriptRow.id).where(some, ScriptRow.text.contains(part)))
        return np.array(sorted(found), np.int64)

    def _find(self, part: str, after: int) -> list[int]:
        if self._database.dialect is not Dialect.SQLITE or not self._is_indexed() or len(part) < MIN_PART:
            return self._scan(part, after)
        last = self._first("SELECT indexed_to FROM script_progress")
        found = self._scan(part, max(after, last))
        if after < last:
            like = ScriptRow.text.contains(part)
            candidates = peewee.SQL(
                "id IN (SELECT rowid FROM script_search WHERE script_search MATCH ? AND rowid > ?)",
                (_trigrams(part), after),
            )
            found += self._numbers(ScriptRow.select(ScriptRow.id).where(candidates, ScriptRow.id <= last, like))
        return found

    def _scan(self, part: str, after: int) -> list[int]:
        """Of the scripts behind a number; PostgreSQL uses its index for this."""
        wanted = ScriptRow.text.contains(part)
        return self._numbers(ScriptRow.select(ScriptRow.id).where(ScriptRow.id > after, wanted))

    def _numbers(self, query: peewee.Query) -> list[int]:
        return [number for (number,) in self._database.raw_rows(query) if type(number) is int]

    def _is_indexed(self) -> bool:
        if self._has_index is None:
            self._has_index = "script_search" in self._database.get_tables()
        return self._has_index

    def _first(self, sql: str) -> int:
        row = self._database.first_row(sql)
        return int(row[0]) if row is not None and type(row[0]) is int else 0

    # Upkeep

    def maintain(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Read the scripts of older jobs, and index new scripts: some of them each time."""
        _repeat(self._link_some, stopping)
        _repeat(self._index_some, stopping)

    def remove_unused(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Remove scripts that no job has any more: some of them each time."""
        _repeat(self._remove_some, stopping)

    def _link_some(self) -> bool:
        """Link the scripts of jobs that are older than this search, newest first; whether there are more."""
        before = self._first("SELECT unread_below FROM script_progress")
        if not before:
            return False
        with self._database.write():
            query = JobRow.select(JobRow.id, JobRow.meta_data).where(JobRow.id < before)
            rows = list(self._database.raw_rows(query.order_by(JobRow.id.desc()).limit(LINKED_AT_ONCE)))
            scripts = ((id_, script_of(read_columns(("meta_data",), (text,))[0]["meta_data"])) for id_, text in rows)
            link_scripts(self._database, [(id_, script) for id_, script in scripts if script])
            below = rows[-1][0] if len(rows) == LINKED_AT_ONCE else 0
            ScriptProgressRow.update(unread_below=below).execute(self._database)
        return bool(below)

    def _index_some(self) -> bool:
        if self._database.dialect is not Dialect.SQLITE or not self._is_indexed():
            return False
        last = self._first("SELECT indexed_to FROM script_progress")
        if self._first("SELECT MAX(id) FROM script") <= last:
            return False
        with self._database.write():
            query = ScriptRow.select(ScriptRow.id).where(ScriptRow.id > last).order_by(ScriptRow.id)
            numbers = self._numbers(query.limit(INDEXED_AT_ONCE))
            if not numbers:
                return False
            self._database.run_sql(
                "INSERT INTO script_search (rowid, text) SELECT id, text FROM script WHERE id > ? AND id <= ?",
                last,
                numbers[-1],
            )
            ScriptProgressRow.update(indexed_to=numbers[-1]).execute(self._database)
        return len(numbers) == INDEXED_AT_ONCE

    def _remove_some(self) -> bool:
        """Remove scripts that no job has any more; whether there may be more."""
        used = JobScriptRow.select(peewee.SQL("1")).where(JobScriptRow.script == ScriptRow.id)
        unused = ~peewee.fn.EXISTS(used)
        # in the order of an index that is read without the texts
        query = ScriptRow.select(ScriptRow.id).where(unused).order_by(ScriptRow.digest).limit(_REMOVED_AT_ONCE)
        numbers = self._numbers(query)
        if not numbers:
            return False
        with self._database.write():
            last = self._first("SELECT indexed_to FROM script_progress")
            these = ScriptRow.id.in_(numbers)
            if self._database.dialect is Dialect.SQLITE and self._is_indexed():
                indexed = ScriptRow.select(ScriptRow.id, ScriptRow.text).where(these, unused, ScriptRow.id <= last)
                for number, text in list(self._database.raw_rows(indexed)):
                    self._database.run_sql(_UNINDEX, number, text)
            ScriptRow.delete().where(these, unused).execute(self._database)
        return len(numbers) == _REMOVED_AT_ONCE


def _repeat(step: Callable[[], bool], stopping: Callable[[], bool]) -> None:
    """Take steps until one says that there is no more, or until there were many; others may write between two."""
    for _ in range(BATCHES_PER_RUN):
        if stopping() or not step():
            return


def _trigrams(part: str) -> str:
    """An FTS5 query for some trigrams of a part, all of which a text with the part has."""
    every = dict.fromkeys(part[at : at + 3] for at in range(len(part) - 2))
    step = -(-len(every) // _MAX_TRIGRAMS)
    return " AND ".join('"{}"'.format(trigram.replace('"', '""')) for trigram in list(every)[::step])
