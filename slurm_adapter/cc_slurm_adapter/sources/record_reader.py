"""Records of a list to jobs: one that has not changed since the answer before is not read again."""

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
    """Reads the lists of one command, `lift` being what makes a job of a record (None for what is no job).

    A record that cannot be read is logged when it comes; if its text names a job, the job is there, with nothing known.
    """

    def __init__(self) -> None:
        self._last: Dict[bytes, Optional[SlurmJob]] = {}
        self._kind: object = None

    def read(
        self, records: Iterable[Record], parse: Callable[[Mapping[str, Any]], Optional[SlurmJob]], kind: object = None
    ) -> List[SlurmJob]:
        """The jobs of a list; `kind` tells layouts apart: nothing is kept from one to another."""
        last = self._last if kind == self._kind else {}
        seen: Dict[bytes, Optional[SlurmJob]] = {}
        jobs: List[SlurmJob] = []
        for record in records:
            if isinstance(record, bytes):
                digest = hashlib.blake2b(record, digest_size=_DIGEST_BYTES).digest()
                job = last[digest] if digest in last else _parse_record(record, parse)
                seen[digest] = job
            else:
                job = _parse_record(record, parse)
            if job is not None:
                jobs.append(job)
        self._last, self._kind = seen, kind
        return jobs


def _parse_record(record: Record, lift: Callable[[Mapping[str, Any]], Optional[SlurmJob]]) -> Optional[SlurmJob]:
    try:
        document = parse_slurm_json(record) if isinstance(record, bytes) else record
        return lift(document) if isinstance(document, dict) else None
    except Exception as error:  # noqa: BLE001 whatever is odd about a job of somebody, the other jobs are told
        match = _JOB_ID.search(record) if isinstance(record, bytes) else None
        job_id = int(match.group(1)) if match else 0
        logger.warning("record left out job=%s reason=%r", job_id or "?", f"{type(error).__name__}: {error}"[:200])
        return SlurmJob(job_id, "") if job_id else None
