import logging
import zlib
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore.blocks.codec import Codec, CodecError, choose_codec
from cc_backend.metricstore.blocks.cold_block import ColdBlock, compress
from cc_backend.metricstore.blocks.file_slice import FileSlice, SliceFile
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.blocks.matrix import MatrixTarget, summarise

EVERY = slice(0, WINDOW_SLOTS)


@pytest.fixture(params=[False, True], ids=["numpy", "native"])
def codec(request: pytest.FixtureRequest) -> Codec:
    try:
        return choose_codec(native=request.param)
    except RuntimeError as error:
        pytest.skip(str(error))


def some_samples() -> np.ndarray:
    samples = np.random.default_rng(1).normal(100, 10, (64, WINDOW_SLOTS)).astype(np.float32)
    samples[3, 7] = np.nan
    samples[60:] = np.nan
    return samples


def on_disk(folder: Path, payload: bytes, *, crc32: int | None = None) -> FileSlice:
    path = folder / "window"
    path.write_bytes(b"before" + payload + b"after")
    return FileSlice(SliceFile(path), 6, len(payload), crc32)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_cold_block_reads_as_a_hot_one_does(where: str, codec: Codec, tmp_path: Path) -> None:
    samples = some_samples()
    payload = compress(samples, codec=codec)
    block = ColdBlock(payload if where == "memory" else on_disk(tmp_path, payload), codec=codec)
    assert block.rows == 64
    assert block.size_bytes == (len(payload) if where == "memory" else 0)
    assert block.on_disk == (where == "disk")
    np.testing.assert_array_equal(block.read(np.arange(64), EVERY), samples)
    np.testing.assert_array_equal(block.read(np.array([5, 3]), slice(4, 9)), samples[[5, 3], 4:9])
    out = np.zeros((3, 8), np.float32)
    block.read_into(np.array([3]), slice(4, 9), MatrixTarget(out, np.array([1]), 2))
    np.testing.assert_array_equal(out[1, 2:7], samples[3, 4:9])
    assert not out[[0, 2]].any()
    for found, wanted in zip(block.summarise(np.arange(64), EVERY), summarise(samples), strict=True):
        np.testing.assert_allclose(found, wanted)


def test_it_says_which_rows_hold_something() -> None:
    block = ColdBlock(compress(some_samples()))
    assert block.has_samples(np.array([62, 59]))
    assert not block.has_samples(np.array([60, 63]))


def test_of_what_left_for_the_disk_it_says_so_without_the_disk(tmp_path: Path) -> None:
    payload = compress(some_samples())
    nothing = FileSlice(SliceFile(tmp_path), 0, len(payload))  # a folder opens, but cannot be read
    block = ColdBlock(payload, saved_part=nothing)
    block.evict()
    assert block.has_samples(np.array([62, 59]))
    assert not block.has_samples(np.array([60, 63]))


def test_thawed_it_is_the_same_block_again(codec: Codec) -> None:
    samples = some_samples()
    block = ColdBlock(compress(samples, codec=codec), version=5, saved_version=4, codec=codec)
    thawed = block.decompress(128)
    assert (thawed.rows, thawed.version, thawed.saved_version) == (128, 5, 4)
    np.testing.assert_array_equal(thawed.samples[:64], samples)
    assert np.isnan(thawed.samples[64:]).all()
    assert block.decompress(1).rows == 64


def test_only_what_is_saved_as_it_is_can_leave_for_the_disk(tmp_path: Path) -> None:
    payload = compress(some_samples())
    part = on_disk(tmp_path, payload)
    unsaved = ColdBlock(payload, version=2, saved_version=1, saved_part=part)
    nowhere = ColdBlock(payload)
    assert (unsaved.evict(), nowhere.evict()) == (0, 0)
    saved = ColdBlock(payload, version=2, saved_version=2, saved_part=part)
    assert saved.is_evictable
    assert saved.evict() == len(payload)
    assert (saved.size_bytes, saved.on_disk, saved.evict(), saved.payload) == (0, True, 0, part)
    np.testing.assert_array_equal(saved.read(np.arange(64), EVERY), some_samples())


def test_a_file_that_is_replaced_is_read_as_it_was(tmp_path: Path) -> None:
    block = ColdBlock(on_disk(tmp_path, compress(some_samples())))
    (tmp_path / "window").unlink()
    (tmp_path / "window").write_bytes(bytes(10_000))
    np.testing.assert_array_equal(block.read(np.arange(64), EVERY), some_samples())


def test_with_its_rows_told_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    part = on_disk(tmp_path, b"no payload")
    assert ColdBlock(part, rows=64).rows == 64
    with pytest.raises(CodecError):
        ColdBlock(part)


@pytest.mark.parametrize("fault", ["checksum", "short", "no payload"])
def test_what_cannot_be_read_is_missing_and_told_once(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    payload = compress(some_samples())
    part = on_disk(tmp_path, payload, crc32=zlib.crc32(payload))
    if fault == "checksum":
        part = FileSlice(part.file, part.offset, part.length, 1)
    elif fault == "short":
        part = FileSlice(part.file, part.offset + 10, part.length, None)
    else:
        part = FileSlice(part.file, 0, part.length, None)
    block = ColdBlock(part, rows=64)
    out = np.zeros((64, WINDOW_SLOTS), np.float32)
    with caplog.at_level(logging.ERROR):
        block.read_into(np.arange(64), EVERY, MatrixTarget(out, np.arange(64)))
        assert np.isnan(out).all()
        if fault != "no payload":
            block.read(np.arange(64), EVERY)
    assert len(caplog.records) == 1
    assert np.isnan(block.decompress(64).samples).all()


def test_a_disk_fault_is_told_with_the_file_s_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    part = on_disk(tmp_path, compress(some_samples()))
    folder = FileSlice(SliceFile(tmp_path), 0, part.length)  # a folder opens, but cannot be read
    block = ColdBlock(folder, rows=64)
    with caplog.at_level(logging.ERROR):
        assert np.isnan(block.read(np.arange(64), EVERY)).all()
        assert block.has_samples(np.array([0]))
    assert [str(tmp_path) in record.getMessage() for record in caplog.records] == [True]


def test_payloads_of_other_windows_are_refused() -> None:
    with pytest.raises(CodecError, match="slots"):
        ColdBlock(compress(np.zeros((4, 64), np.float32)))
    with pytest.raises(CodecError):
        ColdBlock(b"CCPB")


def test_small_and_large_payloads_come_back_as_bytes() -> None:
    small, large = compress(np.zeros((64, WINDOW_SLOTS), np.float32)), compress(some_samples())
    assert len(small) < 16384 < len(large)
    assert [ColdBlock(payload).payload for payload in (small, large)] == [small, large]
