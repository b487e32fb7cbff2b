import gc
import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cc_backend.server import exec_server, freeze_garbage_collector, raise_file_limit, tls_context
from cc_backend.settings import ListenSettings
from cc_common.errors import SettingsError


def test_a_server_is_started_so_that_it_gives_memory_back_unless_the_site_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[tuple[list[str], Mapping[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append((command, environment)))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    exec_server(tmp_path / "config.json")
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
    ("certificate", "key", "said"),
    [
        ("nothing.pem", "nothing.key", "https-cert-file: nothing.pem cannot be read: No such file or directory"),
        (__file__, "nothing.key", "https-key-file: nothing.key cannot be read: No such file or directory"),
        (__file__, "", "https-key-file: is missing"),
        ("", __file__, "https-cert-file: is missing"),
        (__file__, __file__, "https-cert-file and main.https-key-file"),
    ],
)
def test_of_a_certificate_and_a_key_the_one_that_cannot_be_used_is_named(certificate: str, key: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"^main.{said}"):
        tls_context(ListenSettings(https_cert_file=certificate, https_key_file=key))


def test_without_a_certificate_plain_http_is_spoken() -> None:
    assert tls_context(ListenSettings()) is None


def test_the_garbage_collector_does_not_go_through_what_is_there_for_good() -> None:
    for_good = [[number] for number in range(10_000)]
    try:
        freeze_garbage_collector()
        assert gc.get_freeze_count() > len(for_good)
        assert not any(found is for_good for found in gc.get_objects())
    finally:
        gc.unfreeze()
