import gc
import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cc_backend.server import Listening, become_server, raise_file_limit, spare_collector, tls_context
from cc_common.errors import SettingsError


def test_a_server_is_started_so_that_it_gives_memory_back_unless_the_site_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[tuple[list[str], Mapping[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append((command, environment)))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    become_server(tmp_path / "config.json")
    [(command, environment)] = started
    assert command[1:] == ["-m", "cc_backend.server", str(tmp_path / "config.json")]
    assert environment["MALLOC_ARENA_MAX"] == "7"
    assert int(environment["MALLOC_MMAP_THRESHOLD_"]) < 19 * 1024 * 1024, "a login's memory is a block of its own"


@pytest.fixture
def file_limit() -> Iterator[None]:
    """The limit of this process is put back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("file_limit")
def test_a_server_may_have_as_many_files_open_as_the_system_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allowed = raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == allowed > 256


@pytest.mark.parametrize(
    ("certificate", "key"), [("nothing.pem", "nothing.key"), ("nothing.pem", ""), ("", "nothing.key")]
)
def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, certificate: str, key: str) -> None:
    listening = Listening("localhost:1", 4, 1, *(str(tmp_path / name) if name else "" for name in (certificate, key)))
    with pytest.raises(SettingsError, match=r"https-cert-file.*nothing"):
        tls_context(listening)


def test_without_a_certificate_plain_http_is_spoken() -> None:
    assert tls_context(Listening("localhost:1", 4, 1)) is None


def test_the_garbage_collector_does_not_go_through_what_is_there_for_good() -> None:
    for_good = [[number] for number in range(10_000)]
    try:
        spare_collector()
        assert gc.get_freeze_count() > len(for_good)
        assert not any(found is for_good for found in gc.get_objects())
    finally:
        gc.unfreeze()
