"""Every input that a fuzzer has found worth keeping still does no harm; no fuzzer is needed for this."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
NAMES = ("line_protocol", "ingest", "log", "checkpoint", "query", "answer", "snapshot", "restore", "payload")
MOST_BYTES = 2048
MOST_FILES = 80


def _targets() -> Any:
    name = "cockpit_fuzz_targets"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "targets.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].TARGETS


def corpus(name: str) -> list[Path]:
    return sorted((HERE / "corpus" / name).iterdir())


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    known = {folder.name for folder in (HERE / "corpus").iterdir() if folder.is_dir()}
    assert set(NAMES) == set(_targets()) <= known


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_stays_small(name: str) -> None:
    sizes = [path.stat().st_size for path in corpus(name)]
    assert 2 <= len(sizes) <= MOST_FILES
    assert max(sizes) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_inputs_of_a_corpus_do_no_harm(name: str) -> None:
    target = _targets()[name]
    for path in corpus(name):
        try:
            target(path.read_bytes())
        except BaseException as error:
            error.add_note(f"with {path}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_cut_and_flipped_inputs_do_no_harm_either(name: str) -> None:
    target = _targets()[name]
    for path in corpus(name)[::4]:
        data = path.read_bytes()
        for at in {len(data) // 3, len(data) // 2, len(data) - 1} - {-1}:
            target(data[:at])
            target(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
