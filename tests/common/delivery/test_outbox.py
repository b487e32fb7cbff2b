"""The outbox: order, bounds, and what survives when the process does not."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, List

import pytest

from cc_common.delivery import Outbox
from cc_common.delivery.outbox import Lease
from cc_common.delivery.spool import BLOCK_BYTES, Spool
from cc_common.errors import DeliveryError


def drain(outbox: Outbox) -> List[bytes]:
    batches = []
    while True:
        ticket = outbox.lease()
        if ticket is None:
            return batches
        batches.append(ticket.batch)
        outbox.confirm(ticket)


def reopened(directory: Path, **more: Any) -> List[bytes]:
    outbox = Outbox(directory, **more)
    try:
        return drain(outbox)
    finally:
        outbox.close()


def test_batches_come_out_oldest_first() -> None:
    outbox = Outbox()
    for batch in (b"1", b"2", b"3"):
        assert outbox.put(batch)
    assert drain(outbox) == [b"1", b"2", b"3"]


def test_a_batch_stays_until_it_is_done() -> None:
    outbox = Outbox()
    outbox.put(b"1")
    assert outbox.lease() == outbox.lease() == Lease(0, b"1")
    outbox.confirm(Lease(0, b"1"))
    assert outbox.lease() is None
    assert len(outbox) == 0


def test_only_the_rest_of_a_batch_may_be_kept_in_its_place() -> None:
    outbox = Outbox()
    outbox.put(b"1\n2\n")
    outbox.put(b"3\n")
    outbox.requeue(outbox.lease(), b"2\n")
    assert outbox.stats().queued_bytes == 4
    assert drain(outbox) == [b"2\n", b"3\n"]


def test_without_a_folder_the_oldest_is_dropped_when_memory_is_full(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(memory_limit_bytes=10)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            outbox.put(b"%d--" % number)
    assert drain(outbox) == [b"2--", b"3--", b"4--"]
    assert outbox.stats().dropped == 2
    assert [record.getMessage() for record in caplog.records] == [
        "dropped oldest batch reason='memory is full' times=1"
    ]


def test_drops_are_logged_once_a_period_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    outbox = Outbox(memory_limit_bytes=1, clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            outbox.put(b"x")
        now[0] = 61.0
        outbox.put(b"x")
    assert [record.getMessage()[-7:] for record in caplog.records] == ["times=1", "times=4"]


def test_a_batch_that_is_being_sent_is_not_dropped() -> None:
    outbox = Outbox(memory_limit_bytes=2)
    outbox.put(b"1")
    ticket = outbox.lease()
    outbox.put(b"2")
    outbox.put(b"3")
    assert outbox.stats().dropped == 1
    outbox.requeue(ticket, ticket.batch)
    assert drain(outbox) == [b"1", b"3"]


def test_with_a_folder_a_full_memory_goes_to_disk_and_the_order_stays(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, memory_limit_bytes=4)
    for number in range(4):
        outbox.put(b"%d-" % number)
    fill = outbox.stats()
    assert (fill.queued, fill.spooled, fill.dropped) == (2, 2, 0)
    assert fill.spooled_bytes == 2 * BLOCK_BYTES
    assert drain(outbox) == [b"0-", b"1-", b"2-", b"3-"]
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    outbox.close()


def test_what_is_spilled_is_there_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for number in range(12):
        outbox.put(b"%d" % number)
    outbox.close()
    again = Outbox(tmp_path)
    again.put(b"new")
    assert drain(again) == [b"%d" % number for number in range(12)] + [b"new"]
    again.close()


def test_what_is_kept_of_a_spooled_batch_replaces_its_file(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(b"1\n2\n")
    outbox.spill()
    outbox.requeue(outbox.lease(), b"2\n")
    outbox.close()
    assert reopened(tmp_path) == [b"2\n"]


def test_durable_means_on_disk_before_put_returns(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, durable=True)
    assert outbox.put(b"event")
    assert len(list(tmp_path.glob("*.batch"))) == 1
    assert outbox.stats().queued == 0
    outbox.close()


def test_durable_without_a_folder_cannot_be_promised() -> None:
    assert not Outbox(durable=True).put(b"event")


def test_over_the_disk_limit_the_oldest_is_dropped(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, durable=True, disk_limit_bytes=3 * BLOCK_BYTES)
    for number in range(5):
        assert outbox.put(b"%d" % number)
    assert outbox.stats().dropped == 2
    assert drain(outbox) == [b"2", b"3", b"4"]
    outbox.close()


def test_a_lower_limit_counts_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, durable=True)
    for number in range(4):
        outbox.put(b"%d" % number)
    outbox.close()
    assert reopened(tmp_path, disk_limit_bytes=2 * BLOCK_BYTES) == [b"2", b"3"]


def test_a_batch_larger_than_the_disk_limit_stays_in_memory(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, durable=True, disk_limit_bytes=BLOCK_BYTES)
    assert not outbox.put(b"x" * 2 * BLOCK_BYTES)
    assert outbox.stats().queued == 1
    outbox.close()


def test_a_disk_that_takes_nothing_leaves_batches_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path, durable=True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.WARNING):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert not outbox.put(b"1")
            assert not outbox.put(b"2")
        assert outbox.put(b"3")
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
    assert not list(tmp_path.glob(".*.tmp"))
    assert drain(outbox) == [b"1", b"2", b"3"]
    outbox.close()


def test_half_written_files_are_cleared_and_damaged_or_foreign_ones_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path, durable=True)
    for batch in (b"good", b"torn", b"flipped", b"last"):
        outbox.put(batch)
    outbox.close()
    torn, flipped = tmp_path / f"{1:018d}.batch", tmp_path / f"{2:018d}.batch"
    torn.write_bytes(torn.read_bytes()[:-1])
    flipped.write_bytes(flipped.read_bytes().replace(b"flipped", b"flopped"))
    (tmp_path / f".{7:018d}.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / f"{9:018d}.batch").symlink_to("/etc/hostname")
    with caplog.at_level(logging.WARNING):
        assert reopened(tmp_path) == [b"good", b"last"]
    aside = {path.name for path in (tmp_path / "aside").iterdir()}
    assert aside == {torn.name, flipped.name, "notes.txt", f"{9:018d}.batch"}
    assert not (tmp_path / f".{7:018d}.tmp").exists()
    assert caplog.text.count("set aside") == 4


def test_files_set_aside_under_the_same_name_are_all_kept(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "notes.txt").write_text("not ours")
        Outbox(tmp_path).close()
    assert {path.name for path in (tmp_path / "aside").iterdir()} == {"notes.txt", "notes.txt.1"}


def test_a_spooled_file_that_vanishes_is_passed_over(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, durable=True)
    outbox.put(b"1")
    outbox.put(b"2")
    (tmp_path / f"{0:018d}.batch").unlink()
    assert drain(outbox) == [b"2"]
    assert outbox.stats().dropped == 1
    outbox.close()


def test_spool_files_are_for_the_owner_only(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "spool", durable=True)
    outbox.put(b"secret script")
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert next((tmp_path / "spool").glob("*.batch")).stat().st_mode & 0o777 == 0o600
    outbox.close()


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    with pytest.raises(DeliveryError, match="in use by another process"):
        Outbox(tmp_path)
    first.close()
    Outbox(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeliveryError, match="cannot be used"):
        Outbox(tmp_path / "file" / "spool")


def test_many_threads_may_put_while_one_takes(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, memory_limit_bytes=200)
    threads = [
        threading.Thread(target=lambda first=first: [outbox.put(b"%d" % (first + n)) for n in range(50)])
        for first in (1000, 2000, 3000)
    ]
    for thread in threads:
        thread.start()
    taken = []
    while any(thread.is_alive() for thread in threads):
        taken += drain(outbox)
    taken += drain(outbox)
    assert sorted(taken) == [b"%d" % (first + n) for first in (1000, 2000, 3000) for n in range(50)]
    fill = outbox.stats()
    assert (fill.queued_bytes, fill.spooled_bytes) == (0, 0)
    outbox.close()


WRITER = """
import sys
from pathlib import Path
from cc_common.delivery.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), durable=True)
number = int(sys.argv[2])
while True:
    if outbox.put(b"event %d" % number):
        print(number, flush=True)
    number += 1
"""


def acknowledged_before_kill(directory: Path, first: int, lines: int) -> List[int]:
    """Numbers that a child said were safe before it was killed; the pipe may hold more than was asked for."""
    command = [sys.executable, "-c", WRITER, str(directory), str(first)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        numbers = [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
    complete = rest[: rest.rfind("\n") + 1]
    return numbers + [int(line) for line in complete.split()]


def test_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    expected = []
    for killing in range(10):
        expected += acknowledged_before_kill(tmp_path, first=killing * 100_000, lines=3 + 2 * killing)
    found = [int(batch.split()[1]) for batch in reopened(tmp_path)]
    assert set(expected) <= set(found)
    assert found == sorted(found)
    assert len(found) <= len(expected) + 10  # at most one batch each time was on disk but not acknowledged
