"""Bodies in unnamed files: complete or an error, and never in memory as a whole."""

import errno
import io
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from cc_backend.httpserver.file_body import BodyFileError, BodyTooLongError, FileBody
from cc_backend.httpserver.wsgi import run_application


def of(*parts: bytes, limit_bytes: int = 1 << 20) -> FileBody:
    return FileBody.from_parts(parts, limit_bytes=limit_bytes)


@pytest.mark.parametrize("parts", [(), (b"",), (b"one",), (b"one", b"", b"two"), (bytes(200_000), b"end")])
def test_a_body_is_all_its_parts(parts: tuple[bytes, ...]) -> None:
    body = of(*parts)
    assert bytes(body.view) == b"".join(body) == b"".join(parts)


def test_a_body_over_its_limit_is_refused_before_the_rest_is_made() -> None:
    made = []

    def endless() -> Iterator[bytes]:
        while True:
            made.append(1)
            yield bytes(100)

    with pytest.raises(BodyTooLongError):
        FileBody.from_parts(endless(), limit_bytes=1000)
    assert len(made) == 11
    assert len(of(bytes(1000), limit_bytes=1000).view) == 1000


def test_an_error_while_parts_are_made_is_that_error_also_if_it_is_one_of_the_system() -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise FileNotFoundError("a file of the archive")

    with pytest.raises(FileNotFoundError, match="archive"):
        FileBody.from_parts(broken(), limit_bytes=1000)


def test_a_full_disk_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullDisk())
    with pytest.raises(BodyFileError, match="No space left"):
        of(b"x")


@pytest.mark.parametrize(("method", "sent"), [("GET", b"a long text"), ("HEAD", b"")])
def test_the_server_sends_the_view_with_its_length(method: str, sent: bytes) -> None:
    def application(_: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/csv"), ("Content-Length", "11")])
        return of(b"a long ", b"text") if method == "GET" else ()

    response = run_application(application, {"REQUEST_METHOD": method, "PATH_INFO": "/"})
    assert bytes(response.body) == sent
    assert ("Content-Length", "11") in response.fields
    assert isinstance(response.body, memoryview) == (method == "GET")
