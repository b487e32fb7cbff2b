"""Downloads: complete or an error, with a harmless name."""

from collections.abc import Iterator

import pytest
import zstandard
from flask import Flask
from werkzeug.datastructures import MultiDict

from cc_backend.errors import InvalidInput
from cc_backend.http.downloads import FileFormat, csv_download, download, requested_format


@pytest.fixture
def request_context() -> Iterator[None]:
    """A request of a client that accepts zstd."""
    with Flask(__name__).test_request_context("/", headers={"Accept-Encoding": "zstd", "Accept": "text/csv"}):
        yield


@pytest.mark.usefixtures("request_context")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("job-tern-5", "job-tern-5.json"),
        ("../../etc/passwd", ".._.._etc_passwd.json"),
        ('x"; filename="evil.exe', "x_filename_evil.exe.json"),
        ("a\r\nSet-Cookie: x", "a_Set-Cookie_x.json"),
        ("n\u00e4mlich", "n_mlich.json"),
    ],
)
def test_a_name_has_nothing_that_a_header_or_a_folder_means(name: str, shown: str) -> None:
    response = download([b"{}"], FileFormat.JSON, name=name)
    assert response.headers["Content-Disposition"] == f'attachment; filename="{shown}"'


@pytest.mark.usefixtures("request_context")
def test_a_table_is_compressed_as_it_is_written() -> None:
    response = csv_download(["n"], ([number] for number in range(10_000)), name="numbers")
    packed = b"".join(response.response)  # type: ignore[arg-type]
    assert response.headers["Content-Encoding"] == "zstd"
    assert response.content_length == len(packed)
    assert len(zstandard.ZstdDecompressor().decompressobj().decompress(packed).split()) == 10_001


@pytest.mark.usefixtures("request_context")
def test_the_parameter_comes_before_the_header() -> None:
    offered = (FileFormat.JSON, FileFormat.CSV)
    assert requested_format(MultiDict(), offered) is FileFormat.CSV
    assert requested_format(MultiDict({"format": "json"}), offered) is FileFormat.JSON
    with pytest.raises(InvalidInput, match="one of json, csv, not 'parquet'"):
        requested_format(MultiDict({"format": "parquet"}), offered)
