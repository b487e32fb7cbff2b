"""One job as one JSON document: `{"data": <data.json>, "firstSample": {...}, "meta": <meta.json>}`.

The record comes last, because the statistics of a running job are known once all its samples were read.
"""

from collections.abc import Iterator

import orjson

from cc_backend.archive.data_json import metric_parts
from cc_backend.archive.meta_json import encode_record
from cc_backend.exports.job_series import JobExport
from cc_backend.jobdata.samples import comes_from_archive


def document_parts(export: JobExport) -> Iterator[bytes]:
    """The document as parts to join; `firstSample` is metric -> scope -> begin of the first slot (Unix seconds)."""
    first: dict[str, dict[str, int]] = {}
    last_name = ""
    yield b'{"data":{'
    for name, scope, metric, first_s in export.series:
        key = orjson.dumps(scope.value)
        if name != last_name:
            yield b"%b%b:{%b:" % (b"}," if first else b"", orjson.dumps(name), key)
        else:
            yield b",%b:" % key
        yield from metric_parts(metric)
        first.setdefault(name, {})[scope.value] = first_s
        last_name = name
    yield b'%b},"firstSample":%b,"meta":%b}' % (b"}" if first else b"", orjson.dumps(first), record_json(export))


def record_json(export: JobExport) -> bytes:
    """The record in the form of meta.json; of a job that is not archived with the statistics so far.

    `damaged` names unreadable columns of its row, and is present only if there are any.
    """
    if comes_from_archive(export.job):
        return encode_record(export.record)
    damaged = {"damaged": list(export.job.damaged_columns)} if export.job.damaged_columns else {}
    statistics = export.statistics
    return encode_record(export.record, statistics, monitoringStatus=export.job.monitoring_status, **damaged)
