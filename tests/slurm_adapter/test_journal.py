import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Iterator

import pytest

from cc_slurm_adapter.errors import JournalError
from cc_slurm_adapter.journal import PARKED, SENT, EventCounts, JobRun, Journal
from cc_slurm_adapter.slurm_model import RunKey

KEY = RunKey("alpha", 7, 900)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "state" / "journal.sqlite")
    yield opened
    opened.close()


def kinds(journal: Journal) -> "list[tuple[int, str]]":
    return [(event.key.job_id, event.kind) for event in journal.waiting()]


def test_a_run_and_its_events_are_remembered_by_the_next_process(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "j")) as first:
        first.record_start(JobRun(KEY, 890, 2), {"jobId": 7}, now_s=1)
        first.record_stop(KEY, 950, {"stop": 950}, now_s=2)
        first.set_note("window", "77")
    with closing(Journal(tmp_path / "j")) as second:
        assert second.runs_of("alpha", [7]) == [JobRun(KEY, 890, 2, 950)]
        assert [(event.kind, json.loads(event.body)) for event in second.waiting()] == [
            ("start", {"jobId": 7}),
            ("stop", {"stop": 950}),
        ]
        assert second.get_note("window") == "77"


def test_a_run_starts_once_and_ends_once(journal: Journal) -> None:
    for _ in range(2):
        journal.record_start(JobRun(KEY), {}, now_s=1)
        journal.record_stop(KEY, 950, {}, now_s=2)
    assert kinds(journal) == [(7, "start"), (7, "stop")]


def test_a_run_that_is_not_known_cannot_end(journal: Journal) -> None:
    journal.record_stop(KEY, 950, {}, now_s=2)
    assert kinds(journal) == []


def test_open_runs_are_those_without_an_end(journal: Journal) -> None:
    other = RunKey("alpha", 8, 900)
    journal.record_start(JobRun(KEY), {}, now_s=1)
    journal.record_start(JobRun(other), {}, now_s=1)
    journal.record_stop(KEY, 950, {}, now_s=2)
    journal.record_missed_polls(other, 1000, 1)
    assert journal.open_runs("alpha") == [JobRun(other, absent_since=1000, missed_polls=1)]
    assert journal.open_runs("beta") == []


def test_runs_of_very_many_jobs_can_be_requested(journal: Journal) -> None:
    journal.record_start(JobRun(KEY), {}, now_s=1)
    assert [run.key for run in journal.runs_of("alpha", range(5000))] == [KEY]


def test_what_happens_together_happens_whole_or_not_at_all(journal: Journal) -> None:
    def fail() -> None:
        with journal.transaction():
            journal.record_start(JobRun(KEY), {}, now_s=1)
            journal.set_note("window", "5")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (journal.runs_of("alpha", [7]), kinds(journal), journal.get_note("window")) == ([], [], None)


def test_settled_events_wait_no_more(journal: Journal) -> None:
    journal.record_start(JobRun(KEY), {}, now_s=1)
    journal.record_stop(KEY, 950, {}, now_s=1)
    start, stop = journal.waiting()
    journal.set_event_state(start.number, SENT)
    journal.set_event_state(stop.number, PARKED, "bad")
    assert kinds(journal) == []
    assert journal.newest_parked() == [(KEY, "stop", "bad")]
    counts = journal.counts()
    assert (counts.waiting, counts.sent, counts.parked) == (0, 1, 1)


def test_all_events_are_gone_through_though_they_are_settled_meanwhile(journal: Journal) -> None:
    with journal.transaction():
        for job_id in range(1200):
            journal.record_start(JobRun(RunKey("alpha", job_id, 1)), {}, now_s=1)
    seen = 0
    for event in journal.waiting():
        journal.set_event_state(event.number, SENT)
        seen += 1
    assert seen == 1200


def test_of_each_job_the_oldest_event_comes_first(journal: Journal) -> None:
    assert journal.oldest_waiting() == []
    journal.record_start(JobRun(KEY), {}, now_s=1)
    journal.record_stop(KEY, 950, {}, now_s=1)
    start, _ = journal.waiting()
    journal.postpone(start.number, "later")
    journal.record_start(JobRun(RunKey("alpha", 8, 1)), {}, now_s=1)
    assert journal.oldest_waiting() == [start.number, start.number + 2]
    assert [event.tries for event in journal.waiting()] == [1, 0, 0]


def test_a_start_can_be_queued_again_before_its_stop(journal: Journal) -> None:
    journal.record_start(JobRun(KEY), {}, now_s=1)
    journal.set_event_state(next(journal.waiting()).number, SENT)
    journal.record_stop(KEY, 950, {}, now_s=1)
    assert journal.send_again(KEY)
    assert kinds(journal) == [(7, "start"), (7, "stop")]
    assert not journal.send_again(RunKey("alpha", 8, 1))


def test_only_what_is_over_and_sent_is_forgotten(journal: Journal) -> None:
    for job_id in (1, 2, 3):
        key = RunKey("alpha", job_id, 900)
        journal.record_start(JobRun(key), {}, now_s=1)
        if job_id != 3:
            journal.record_stop(key, 950, {}, now_s=1)
    for event in journal.waiting():
        if event.key.job_id == 1:
            journal.set_event_state(event.number, SENT)
    assert journal.prune(950) == 0
    assert journal.prune(951) == 1
    assert sorted(run.key.job_id for run in journal.runs_of("alpha", [1, 2, 3])) == [2, 3]
    assert journal.counts().sent == 0


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "j")):
        assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="file/journal"):
        Journal(tmp_path / "file" / "journal")


def test_a_file_that_is_no_journal_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"something else, and long enough to be looked at" * 100)
    with pytest.raises(JournalError, match="j cannot be used"):
        Journal(tmp_path / "j")


def test_a_journal_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "j")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer version"):
        Journal(tmp_path / "j")


FIRST_VERSION = """
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
INSERT INTO run VALUES ('alpha', 7, 900, 895, 0, NULL, NULL, 0, '{}');
INSERT INTO event (cluster, job_id, start_time, kind, body, state, made_s) VALUES
    ('alpha', 7, 900, 'start', '{}', 'waiting', 1);
PRAGMA user_version = 1;
"""


def test_a_journal_of_an_earlier_version_is_taken_over_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with closing(sqlite3.connect(str(path))) as database:
        database.executescript(FIRST_VERSION)
    for _ in range(2):
        with closing(Journal(path)) as journal:
            assert journal.open_runs("alpha") == [JobRun(RunKey("alpha", 7, 900), 895, 0)]
            assert [event.key.job_id for event in journal.waiting()] == [7]
    with closing(Journal(path)) as journal:
        journal.record_start(JobRun(RunKey("alpha", 8, 900), user="alice"), {}, now_s=1)
        assert [run.user for run in journal.open_runs("alpha")] == ["", "alice"]


def test_what_waits_is_found_without_looking_at_what_was_sent(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal")) as journal:
        list(journal.waiting())
    with closing(sqlite3.connect(str(tmp_path / "journal"))) as database:
        query = "SELECT id FROM event WHERE state = 'waiting' AND id > 1 ORDER BY id LIMIT 5"
        (plan,) = database.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
    assert "event_waiting_in_order" in plan[-1]


def test_two_connections_write_in_turn(tmp_path: Path) -> None:
    """One thread writes runs down while another one settles what was sent."""
    path = tmp_path / "journal"
    count = 200

    def settle() -> None:
        with closing(Journal(path)) as other:
            settled = 0
            while settled < count:
                for event in other.waiting():
                    other.set_event_state(event.number, SENT)
                    settled += 1

    with closing(Journal(path)) as journal:
        settler = threading.Thread(target=settle)
        settler.start()
        for number in range(count):
            journal.record_start(JobRun(RunKey("alpha", number, 900)), {}, now_s=1)
        settler.join(60)
        assert journal.counts() == EventCounts(0, count, 0)
