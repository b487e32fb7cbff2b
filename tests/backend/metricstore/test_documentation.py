from pathlib import Path

import pytest

from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk.snapshot import snapshot_format
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SUFFIX
from cc_backend.metricstore.disk.wal.wal_format import MAGIC, MARKER, VERSION
from cc_backend.metricstore.model import RejectReason


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "metric-store.md").read_text(encoding="utf-8")


def test_every_reason_for_leaving_out_a_line_is_described(page: str) -> None:
    assert [reason for reason in RejectReason if f"`{reason}`" not in page] == []


def test_the_marks_of_the_log_are_those_described(page: str) -> None:
    assert f"`{MAGIC.decode().strip()}\\n`" in page
    assert f"`{MARKER.hex(' ').upper()}`" in page
    assert f"version, {VERSION}" in page


def test_the_marks_of_snapshots_are_those_described(page: str) -> None:
    snapshots = page.partition("## Snapshots")[2]
    assert f"`{snapshot_format.MAGIC.decode().strip()}\\n`" in snapshots
    assert f"`{snapshot_format.MARKER.hex(' ').upper()}`" in snapshots
    assert f"version, {snapshot_format.VERSION}" in snapshots
    assert f"File header, {snapshot_format.HEADER_BYTES} bytes" in snapshots
    assert f"Its header, {snapshot_format.CHUNK_HEADER_BYTES} bytes" in snapshots
    assert f"slots of a window, {WINDOW_SLOTS} |" in snapshots
    assert f"rows of a chunk, {CHUNK_ROWS} |" in snapshots
    assert SUFFIX in snapshots
