import re
import struct
from pathlib import Path

import pytest

from cc_backend.metricstore.blocks import payload_format
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk.snapshot import snapshot_format
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SUFFIX
from cc_backend.metricstore.disk.wal import wal_format
from cc_backend.metricstore.model import RejectReason
from cc_backend.metricstore.query import binary_codec

SIZES = {"u8": 1, "u16": 2, "u32": 4, "i64": 8, "u64": 8}


@pytest.fixture
def formats(repository: Path) -> str:
    return (repository / "docs" / "formats.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands below a heading, up to the next of its level."""
    return re.split(r"^## ", page.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


def header_bytes(text: str, caption: str) -> int:
    """The length of the first table after a caption, whose rows must follow one another without a gap."""
    end = 0
    table = text.partition(caption)[2].partition("\n| offset |")[2].partition("\n\n")[0]
    for offset, kind in re.findall(r"^\| (\d+) \| ([^|]+?) \|", table, re.MULTILINE):
        assert int(offset) == end, f"{caption}: there is a gap before {offset}"
        end += SIZES[kind] if kind in SIZES else int(kind.removesuffix(" bytes"))
    return end


def test_every_reason_for_leaving_out_a_line_is_described(repository: Path) -> None:
    page = (repository / "docs" / "metric-store.md").read_text(encoding="utf-8")
    assert [reason for reason in RejectReason if f"`{reason}`" not in page] == []


def test_the_log_is_as_described(formats: str) -> None:
    text = section(formats, "Write-ahead log")
    assert f"`{wal_format.MAGIC.decode().strip()}\\n`" in text
    assert f"`{wal_format.MARKER.hex(' ').upper()}`" in text
    assert f"version, {wal_format.VERSION} |" in text
    kinds = (wal_format.SERIES, wal_format.BATCH_ONE_TIME, wal_format.BATCH_TIMES)
    assert "kind: {} series, {} batch with one time, {} batch with a time per sample".format(*kinds) in text
    assert header_bytes(text, f"File header, {wal_format.HEADER_BYTES} bytes") == wal_format.HEADER_BYTES
    assert (
        header_bytes(text, f"Record header, {wal_format.RECORD_HEADER_BYTES} bytes") == wal_format.RECORD_HEADER_BYTES
    )


def test_snapshots_are_as_described(formats: str) -> None:
    text = section(formats, "Snapshots")
    assert f"`{snapshot_format.MAGIC.decode().strip()}\\n`" in text
    assert f"`{snapshot_format.MARKER.hex(' ').upper()}`" in text
    assert f"version, {snapshot_format.VERSION} |" in text
    assert f"slots of a window, {WINDOW_SLOTS} |" in text
    assert f"rows of a chunk, {CHUNK_ROWS} |" in text
    assert SUFFIX in text
    assert header_bytes(text, f"File header, {snapshot_format.HEADER_BYTES} bytes") == snapshot_format.HEADER_BYTES
    chunk_header_bytes = snapshot_format.CHUNK_HEADER_BYTES
    assert header_bytes(text, f"Chunk header, {chunk_header_bytes} bytes") == chunk_header_bytes


def test_compressed_blocks_are_as_described(formats: str) -> None:
    text = section(formats, "Compressed blocks")
    assert f"`{payload_format.MAGIC.decode()}`" in text
    assert f"version, {payload_format.VERSION} |" in text
    assert f"rows, up to {payload_format.MAX_ROWS} |" in text
    assert f"slots of a row, up to {payload_format.MAX_SLOTS} |" in text
    assert header_bytes(text, f"Header, {payload_format.HEADER_BYTES} bytes") == payload_format.HEADER_BYTES
    assert struct.calcsize(payload_format.HEADER) == payload_format.HEADER_BYTES


def test_binary_query_responses_are_as_described(formats: str) -> None:
    text = section(formats, "Binary query responses")
    assert f"`{binary_codec.MAGIC.decode()}`" in text
    assert f"`Accept: {binary_codec.MEDIA_TYPE}`" in text
    assert f"version, {binary_codec.VERSION} |" in text
    assert f"{binary_codec.ABSENT}: not known" in text
    assert header_bytes(text, f"Header, {binary_codec.HEADER_BYTES} bytes") == binary_codec.HEADER_BYTES


def test_every_format_is_in_the_table_at_the_beginning(formats: str, repository: Path) -> None:
    rows = re.findall(r"^\| \[[^]]+\]\((#[^)]+)\) \| `([^`]+)` \| `([^`]+)` \|", formats, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^## ", formats, re.MULTILINE))
    titles = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^## (.+)$", formats, re.MULTILINE)}
    assert {anchor for anchor, _, _ in rows} == titles
    sources = [(repository / "backend/cc_backend" / path).read_text("utf-8") for _, _, path in rows]
    marks = [mark for _, mark, _ in rows]
    assert [mark for mark, source in zip(marks, sources, strict=True) if f'MAGIC = b"{mark}' not in source] == []
