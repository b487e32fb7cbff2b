"""Statistics of the metrics of archived jobs in the database, so that lists need no file of the archive.

A row has the numbers as compressed JSON text, and the number of a *metric list*: the metrics with their units, in
order, which nearly all jobs of a subcluster share. A job of 20 metrics takes about 200 bytes.
"""

import logging
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import peewee

from cc_backend.db.database import Database
from cc_backend.jobs.damaged_rows import is_finite_number
from cc_backend.jobs.tables import JobRow, JobStatisticsRow, MetricListRow
from cc_backend.model import MetricStatistic, MetricUnit, MonitoringStatus

logger = logging.getLogger(__name__)

Statistics = Mapping[str, MetricStatistic]

_BATCH = 900  # variables in a statement
_RAW = -15  # deflate without header and checksum
_MAX_TEXT = 1_000_000
"""Bytes of the numbers of one job; more is not written, and not read from a damaged row."""
_ENTRY = 3
_INSERT = "INSERT INTO job_statistics (job_id, metric_list_id, numbers) VALUES (?, ?, ?)"


class StoredStatistics:
    """Writes and reads the statistics of archived jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, job: int, statistics: Statistics | None) -> None:
        """Store the statistics of a job in place of those it has; None removes them."""
        with self._database.write():
            JobStatisticsRow.delete().where(JobStatisticsRow.job == job).execute(self._database)
            if statistics is None:
                return
            packed = _pack(statistics)
            if packed is not None:
                metric_list = self._metric_list_number(_metric_list(statistics))
                JobStatisticsRow.insert(job=job, metric_list=metric_list, numbers=packed).execute(self._database)

    def store_new(self, statistics: Mapping[int, Statistics]) -> None:
        """Store the statistics of many jobs, by their ids, that have none yet; several times faster than one by one."""
        numbers: dict[str, int] = {}
        rows = []
        with self._database.write():
            for job, entries in statistics.items():
                metric_list, packed = _metric_list(entries), _pack(entries)
                if packed is None:
                    continue
                document = orjson.dumps(metric_list).decode()
                if document not in numbers:
                    numbers[document] = self._metric_list_number(metric_list)
                rows.append((job, numbers[document], packed))
            if rows:
                self._database.execute_many(_INSERT, rows)

    def read(self, jobs: Sequence[int]) -> dict[int, dict[str, MetricStatistic]]:
        """Job id -> its statistics, without jobs that have none here or whose row is damaged."""
        found: dict[int, dict[str, MetricStatistic]] = {}
        for begin in range(0, len(jobs), _BATCH):
            query = (
                JobStatisticsRow.select(JobStatisticsRow.job, MetricListRow.document, JobStatisticsRow.numbers)
                .join(MetricListRow, peewee.JOIN.LEFT_OUTER)
                .where(JobStatisticsRow.job.in_(jobs[begin : begin + _BATCH]))
            )
            for job, metric_list, numbers in self._database.raw_rows(query):
                try:
                    found[job] = _unpack(metric_list, numbers)
                except (ValueError, TypeError, zlib.error) as error:
                    logger.warning("statistics of a job are damaged id=%s error=%s", job, error)
        return found

    def lacking(self, *, before: int, limit: int) -> list[int]:
        """The ids of archived jobs without statistics here, below `before`, newest first."""
        has_none = JobRow.id.not_in(
            JobStatisticsRow.select(JobStatisticsRow.job).where(JobStatisticsRow.job == JobRow.id)
        )
        query = JobRow.select(JobRow.id).where(
            JobRow.id < before, JobRow.monitoring_status == MonitoringStatus.ARCHIVED, has_none
        )
        return [id_ for (id_,) in self._database.raw_rows(query.order_by(JobRow.id.desc()).limit(limit))]

    def _metric_list_number(self, metric_list: Sequence[Sequence[str]]) -> int:
        document = orjson.dumps(metric_list).decode()
        same = MetricListRow.document == document
        known = MetricListRow.select(MetricListRow.id).where(same).scalar(self._database)
        if known is not None:
            return int(known)
        return int(MetricListRow.insert(document=document).execute(self._database))


def _metric_list(statistics: Statistics) -> list[list[str]]:
    return [[name, *_unit(entry)] for name, entry in statistics.items()]


def _pack(statistics: Statistics) -> bytes | None:
    """The numbers as they are stored, None if they are too many."""
    text = orjson.dumps([number for entry in statistics.values() for number in (entry.avg, entry.min, entry.max)])
    return zlib.compress(text, 9, _RAW) if len(text) <= _MAX_TEXT else None


def _unit(statistic: MetricStatistic) -> tuple[str, str]:
    return statistic.unit.base, statistic.unit.prefix


def _unpack(metrics_text: Any, packed: Any) -> dict[str, MetricStatistic]:
    """The statistics of a row. Raises ValueError, TypeError or zlib.error if it is damaged."""
    metric_list = [(str(name), MetricUnit(str(base), str(prefix))) for name, base, prefix in orjson.loads(metrics_text)]
    reader = zlib.decompressobj(_RAW)
    numbers = orjson.loads(reader.decompress(bytes(packed), _MAX_TEXT))
    if len(numbers) != _ENTRY * len(metric_list) or not all(map(is_finite_number, numbers)):
        raise ValueError("its numbers do not fit its metrics")
    return {
        name: MetricStatistic(unit, avg=float(numbers[at]), min=float(numbers[at + 1]), max=float(numbers[at + 2]))
        for (name, unit), at in zip(metric_list, range(0, len(numbers), _ENTRY), strict=True)
    }
