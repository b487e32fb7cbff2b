"""Parsing the records of a list, with a cache: a record that is unchanged since the last poll is not parsed again."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional

from cc_slurm_adapter.slurm_model import SlurmJob
from cc_slurm_adapter.sources.listing import Record
from cc_slurm_adapter.sources.slurm_json import parse_slurm_json

logger = logging.getLogger(__name__)

_JOB_ID = re.compile(rb'"job_id"\s*:\s*([0-9]{1,10})\b')
_DIGEST_BYTES = 16


class CachedRecordReader:
    """Parses the lists of one command, and caches the jobs by the digest of their record.

    An invalid record is logged when it first appears; if it has a job id, it becomes a job of which only that is known.
    """

    def __init__(self) -> None:
        self._last: Dict[bytes, Optional[SlurmJob]] = {}
        self._kind: object = None

    def read(
        self, records: Iterable[Record], parse: Callable[[Mapping[str, Any]], Optional[SlurmJob]], kind: object = None
    ) -> List[SlurmJob]:
        """The jobs of a list; `parse` returns None for a record that is not a job.

        `kind` identifies the format: the cache is dropped when it changes.
        """
        last = self._last if kind == self._kind else {}
        parsed: Dict[bytes, Optional[SlurmJob]] = {}
        jobs: List[SlurmJob] = []
        for record in records:
            if isinstance(record, bytes):
                digest = hashlib.blake2b(record, digest_size=_DIGEST_BYTES).digest()
                job = last[digest] if digest in last else _parse_record(record, parse)
                parsed[digest] = job
            else:
                job = _parse_record(record, parse)
            if job is not None:
                jobs.append(job)
        self._last, self._kind = parsed, kind
        return jobs


def _parse_record(record: Record, lift: Callable[[Mapping[str, Any]], Optional[SlurmJob]]) -> Optional[SlurmJob]:
    try:
        document = parse_slurm_json(record) if isinstance(record, bytes) else record
        return lift(document) if isinstance(document, dict) else None
    except Exception as error:  # noqa: BLE001 an error in one record must not affect the others
        match = _JOB_ID.search(record) if isinstance(record, bytes) else None
        job_id = int(match.group(1)) if match else 0
        logger.warning("record skipped job=%s reason=%r", job_id or "?", f"{type(error).__name__}: {error}"[:200])
        return SlurmJob(job_id, "") if job_id else None
