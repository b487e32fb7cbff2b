"""Tags jobs with their applications and classes, as they come, and all of those before by command.

Applications (tags of type `app`) are detected soon after a job has started or stopped, classes (`jobClass`) when it is
archived. Tags that people gave are never touched.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cc_backend.archive.file_archive import FileArchive
from cc_backend.clusters import ClusterRegistry, MetricConfig
from cc_backend.db.database import Database
from cc_backend.errors import BackendError, NotFound
from cc_backend.jobs.detected_tags import set_detected_tags, set_job_classes
from cc_backend.jobs.detection_queue import finish_detection, queued_detections
from cc_backend.jobs.filters import JobFilter, visible_and_matching
from cc_backend.jobs.job_rows import job_columns, read_jobs
from cc_backend.jobs.tables import JobRow
from cc_backend.jobs.tags import ADMIN, GLOBAL
from cc_backend.model import Job, JobKey, MonitoringStatus, RowRule, Tag
from cc_backend.settings import JobTaggerSettings
from cc_backend.taggers.detectors import APPLICATION_TAGS, CLASS_TAGS, Detectors
from cc_backend.taggers.tagger_folder import TaggerFolder

TAG_TYPES = (APPLICATION_TAGS, CLASS_TAGS)
MAX_FAILURES_LOGGED = 100
"""Number of jobs that are named in the log when they cannot be classified; all are counted."""

_BATCH = 200

logger = logging.getLogger(__name__)


def open_detectors(settings: JobTaggerSettings) -> Detectors:
    """The detectors with the folders that the settings name."""
    return Detectors(
        applications=TaggerFolder(Path(settings.apps)),
        rules=TaggerFolder(Path(settings.job_classes)),
        with_shipped_applications=settings.shipped_apps,
        with_shipped_rules=settings.shipped_rules,
    )


@dataclass(slots=True)
class TaggingResult:
    """Numbers of jobs: examined, changed, and those whose archive cannot be read."""

    examined: int = 0
    changed: int = 0
    failed: int = 0


class JobTagger:
    """Gives jobs the tags that the detectors find, and takes back those that they gave before and no longer find."""

    def __init__(
        self, *, database: Database, clusters: ClusterRegistry, archive: FileArchive, detectors: Detectors
    ) -> None:
        self._database = database
        self._clusters = clusters
        self._archive = archive
        self._detectors = detectors

    def reload(self) -> bool:
        """Read the files of the site again if they have changed; whether they had."""
        return self._detectors.reload()

    def tag_queued(self, *, stopping: Callable[[], bool] = lambda: False) -> int:
        """Detect the applications of a batch of the jobs that have started or stopped; returns their number."""
        found = []
        for job, revision in queued_detections(self._database):
            if stopping():
                break
            found.append((job, revision, self._detect_applications(job)))
        with self._database.write():
            for job, revision, tags in found:
                if tags is not None:
                    set_detected_tags(self._database, job.id, APPLICATION_TAGS, tags)
                finish_detection(self._database, job.id, revision)
        return len(found)

    def classify(self, job: Job) -> bool:
        """Give a finished job with statistics the tags and hints of its classes, stored; whether that changed any.

        Raises:
            Unavailable: the database cannot be written.
        """
        found = self._detectors.classes_of(job, self._metrics_of(job))
        tags = [Tag(CLASS_TAGS, job_class.tag, ADMIN if job_class.is_restricted else GLOBAL) for job_class in found]
        hints = [job_class.hint for job_class in found if job_class.hint]
        stored, has_changed = set_job_classes(self._database, job.id, CLASS_TAGS, tags, hints)
        if stored is not None:
            job.tags, job.meta_data = stored.tags, stored.meta_data
        return has_changed

    def tag_matching(
        self,
        job_filter: JobFilter,
        *,
        now_s: int,
        types: Collection[str] = TAG_TYPES,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> TaggingResult:
        """Tag all jobs that match a filter anew, oldest id first; again with the same files it changes nothing.

        `types` are the types of tags to look for. Classes are looked for in archived jobs only. `progress` is given the
        number of jobs that are done and of all.
        """
        result = TaggingResult()
        conditions = visible_and_matching(RowRule(all_jobs=True), job_filter, now_s)
        total = int(JobRow.select().where(*conditions).count(self._database))
        for job in self._matching(conditions):
            if stopping():
                break
            self._tag_anew(job, types, result)
            result.examined += 1
            progress(result.examined, total)
        logger.info("tagged jobs=%d changed=%d failed=%d", result.examined, result.changed, result.failed)
        return result

    def _matching(self, conditions: Sequence[object]) -> Iterator[Job]:
        after = 0
        while True:
            query = JobRow.select(*job_columns()).where(JobRow.id > after, *conditions)
            jobs = read_jobs(self._database, query.order_by(JobRow.id).limit(_BATCH), now_s=None)
            yield from jobs
            if len(jobs) < _BATCH:
                return
            after = jobs[-1].id

    def _tag_anew(self, job: Job, types: Collection[str], result: TaggingResult) -> None:
        has_changed = False
        if APPLICATION_TAGS in types and (tags := self._detect_applications(job)) is not None:
            has_changed = set_detected_tags(self._database, job.id, APPLICATION_TAGS, tags)
        if CLASS_TAGS in types and job.monitoring_status == MonitoringStatus.ARCHIVED and not job.is_unusable:
            try:
                archived = self._archive.load_meta(JobKey(job.cluster, job.job_id, job.start_time))
            except BackendError as error:
                result.failed += 1
                if result.failed <= MAX_FAILURES_LOGGED:
                    logger.warning("job not classified job=%d cluster=%s reason=%s", job.job_id, job.cluster, error)
            else:
                job.statistics = archived.statistics
                has_changed = self.classify(job) or has_changed
        result.changed += has_changed

    def _detect_applications(self, job: Job) -> list[Tag] | None:
        """The tags of the applications of a job, None if its meta data cannot be read."""
        if "meta_data" in job.damaged_columns:
            return None
        return [Tag(APPLICATION_TAGS, name, GLOBAL) for name in self._detectors.applications_of(job.meta_data)]

    def _metrics_of(self, job: Job) -> dict[str, MetricConfig]:
        """The metrics by whose thresholds a job is judged; none if its configuration is unknown."""
        try:
            return dict(self._clusters.sub_cluster_of_job(job).metrics)
        except NotFound:
            return {}
