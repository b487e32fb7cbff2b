"""Downloads: responses of any length, written to a temporary file before the first byte is sent.

So a download that fails half-way is an ordinary error response, and none is in memory as a whole.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from flask import Response, request
from werkzeug.datastructures import MultiDict

from cc_backend.errors import InvalidInput, TooLarge, Unavailable
from cc_backend.exports.csv_text import Cell, csv_parts
from cc_backend.http.responses import JSON
from cc_backend.httpserver.compression import ContentCoding, compress_parts, negotiate_coding
from cc_backend.httpserver.file_body import BodyFileError, BodyTooLongError, FileBody
from cc_common.error_codes import ErrorCode

MAX_DOWNLOAD_BYTES = 2 << 30
"""Maximum length of a download as it is sent: what compresses may be longer."""
FORMAT = "format"
"""The query parameter that names a format; without it `Accept` decides."""
_RETRY_S = 60
_MAX_QUOTED = 40


class FileFormat(StrEnum):
    """The formats of downloads."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"

    @property
    def content_type(self) -> str:
        """The value of `Content-Type`."""
        return {
            FileFormat.JSON: JSON,
            FileFormat.CSV: "text/csv; charset=utf-8; header=present",
            FileFormat.PARQUET: "application/vnd.apache.parquet",
        }[self]

    @property
    def media_type(self) -> str:
        """The type without parameters, as in `Accept`."""
        return self.content_type.partition(";")[0]


TABLE_FORMATS = (FileFormat.JSON, FileFormat.CSV)


def requested_format(arguments: MultiDict[str, str], offered: Sequence[FileFormat] = TABLE_FORMATS) -> FileFormat:
    """The format that the request asks for by `format`, else by `Accept`, else the first one offered.

    Raises:
        InvalidInput: `format` names another one.
    """
    name = arguments.get(FORMAT)
    if name is None:
        by_type = {choice.media_type: choice for choice in offered}
        found = request.accept_mimetypes.best_match(by_type)
        return offered[0] if found is None else by_type[found]
    if name not in offered:
        text = f"{FORMAT} must be one of {', '.join(offered)}, not {name[:_MAX_QUOTED]!r}"
        raise InvalidInput(text, code=ErrorCode.INVALID_PARAMETER)
    return FileFormat(name)


def reject_with_csv(arguments: MultiDict[str, str], names: Sequence[str]) -> None:
    """Raise InvalidInput if one of these parameters was given, which a table as CSV cannot follow."""
    for name in names:
        if name in arguments:
            raise InvalidInput(f"{name!r} cannot be combined with CSV", code=ErrorCode.INVALID_PARAMETER)


def csv_download(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, name: str) -> Response:
    """A response with a table as CSV; the rest as for `download`."""
    return download(csv_parts(header, rows), FileFormat.CSV, name=name)


def download(parts: Iterable[bytes], form: FileFormat, *, name: str) -> Response:
    """A response with all parts as a file `<name>.<format>`, and a weak entity tag; 304 if the client has it already.

    `parts` is read to its end here, so that its errors are raised here.

    Raises:
        TooLarge: the file would be longer than `MAX_DOWNLOAD_BYTES`.
        Unavailable: there is no room for the temporary file.
    """
    digest = hashlib.blake2b(digest_size=16)

    def hashed() -> Iterator[bytes]:
        for part in parts:
            digest.update(part)
            yield part

    packs_itself = form is FileFormat.PARQUET
    coding = ContentCoding.IDENTITY if packs_itself else negotiate_coding(request.headers.get("Accept-Encoding"))
    try:
        body = FileBody.from_parts(compress_parts(hashed(), coding), limit_bytes=MAX_DOWNLOAD_BYTES)
    except BodyTooLongError:
        text = f"the file would be over {MAX_DOWNLOAD_BYTES >> 20} MiB; ask for less, or accept gzip or zstd"
        raise TooLarge(text, code=ErrorCode.ANSWER_TOO_LARGE) from None
    except BodyFileError as error:
        text = f"the server has no room for the file ({error}): its administrator makes some, or sets TMPDIR"
        raise Unavailable(text, retry_after_s=_RETRY_S) from error
    response = Response(body, content_type=form.content_type, direct_passthrough=True)
    response.content_length = len(body.view)
    if coding is not ContentCoding.IDENTITY:
        response.headers["Content-Encoding"] = coding
    safe = re.sub("[^A-Za-z0-9_.-]+", "_", name)
    response.headers["Content-Disposition"] = f'attachment; filename="{safe}.{form}"'
    response.vary.update(("Accept", "Accept-Encoding"))
    response.set_etag(digest.hexdigest(), weak=True)
    response.make_conditional(request)
    return response
