"""Jobs as JSON objects of the REST API, and jobs from start events."""

from collections.abc import Mapping
from typing import Any

from cc_backend.archive.meta_json import tag_to_json
from cc_backend.clusters import ClusterRegistry
from cc_backend.clusters.unit_json import unit_to_json
from cc_backend.insight.finding_json import finding_to_json
from cc_backend.insight.sentences import SentenceContext, finding_headline
from cc_backend.jobs.event_checks import validate_start
from cc_backend.model import Job, JobState, MetricStatistic, MonitoringStatus, Resource
from cc_common.job_document import job_document
from cc_common.job_events import JobStart


def job_to_json(job: Job, *, with_meta_data: bool = False) -> dict[str, Any]:
    """The JSON object of a job in REST responses; keys in the order of ClusterCockpit 1.5, empty optional ones omitted.

    `damaged` names unreadable columns of its row, and is present only if there are any.
    `tags` are written unfiltered: callers filter them first with `tags.visible_tags`.
    """
    own: dict[str, Any] = {
        "jobState": str(job.state),
        "tags": [tag_to_json(tag) for tag in job.tags],
        "footprint": dict(job.footprint) if job.footprint else None,
        "metaData": dict(job.meta_data) if with_meta_data and job.meta_data is not None else None,
        "energy": _integral(job.energy),
        "statistics": _statistics_to_json(job.statistics),
        "id": job.id,
        **judgement_to_json(job),
    }
    if job.monitoring_status:
        own["monitoringStatus"] = job.monitoring_status
    if job.damaged_columns:
        own["damaged"] = list(job.damaged_columns)
    return job_document(job, own)


def judgement_to_json(job: Job) -> dict[str, Any]:
    """`verdict`, and `finding` with its text, if the job has them; these keys do not exist in ClusterCockpit 1.5."""
    judgement = job.judgement
    if judgement is None:
        return {}
    document: dict[str, Any] = {"verdict": judgement.level.value} if judgement.level else {}
    if judgement.finding is not None:
        text = finding_headline(judgement.finding, SentenceContext(job.state is JobState.RUNNING, judgement.judged_s))
        document["finding"] = {"text": text, **finding_to_json(judgement.finding)}
    return document


_MAX_EXACT_INTEGER = 2**53


def resource_from_json(document: Mapping[str, Any]) -> Resource:
    """A resource from the JSON object that `resource_document` wrote."""
    return Resource(
        hostname=document["hostname"],
        hwthreads=tuple(document.get("hwthreads", ())),
        accelerators=tuple(document.get("accelerators", ())),
        configuration=document.get("configuration", ""),
    )


def job_from_start_event(event: JobStart, clusters: ClusterRegistry, *, now_s: int) -> Job:
    """The running job of a start event, without its tags, which `lifecycle` attaches.

    Raises:
        InvalidInput: a value of the event is invalid; the text names the field.
    """
    sub_cluster = validate_start(event, clusters, now_s=now_s)
    # Only 0 is meaningful at a start: the other values describe jobs that have ended.
    is_watched = event.monitoring_status != MonitoringStatus.DISABLED
    return Job(
        job_id=event.job_id,
        cluster=event.cluster,
        sub_cluster=sub_cluster,
        user=event.user,
        project=event.project,
        partition=event.partition,
        start_time=event.start_time,
        submit_time=event.submit_time,
        array_job_id=event.array_job_id,
        resources=event.resources,
        num_nodes=event.num_nodes,
        num_hwthreads=event.num_hwthreads,
        num_acc=event.num_acc,
        shared=event.shared,
        smt=event.smt,
        walltime=event.walltime,
        requested_memory=event.requested_memory,
        duration=max(0, now_s - event.start_time),
        state=JobState.RUNNING,
        monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING if is_watched else MonitoringStatus.DISABLED,
        meta_data=None if event.meta_data is None else dict(event.meta_data),
        footprint=dict(event.footprint) if event.footprint else None,
        energy=event.energy,
    )


def _statistics_to_json(statistics: Mapping[str, MetricStatistic] | None) -> dict[str, Any] | None:
    if statistics is None:
        return None
    return {
        metric: {
            "unit": unit_to_json(entry.unit),
            "avg": entry.avg,
            "min": entry.min,
            "max": entry.max,
        }
        for metric, entry in statistics.items()
    }


def _integral(number: float) -> float | int:
    """0 instead of 0.0, as ClusterCockpit 1.5 writes it, for integers that are exact as a float."""
    return int(number) if number.is_integer() and abs(number) <= _MAX_EXACT_INTEGER else number
