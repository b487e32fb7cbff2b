"""The record of a job by the scheduler, as the job page shows it. Pure: a job in, words out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from cc_backend.clusters.model import SubCluster
from cc_backend.model import Job, JobState
from cc_backend.taggers.hint_messages import HINTS
from cc_backend.web.job_list import format_job_place, format_job_size
from cc_backend.web.record_warnings import record_warnings
from cc_backend.wording.format import (
    count_noun,
    format_duration,
    format_full_moment,
    format_iso_utc,
    format_memory,
    format_number,
    format_time_limit,
)
from cc_backend.wording.labels import STATE_WORDS, metric_name

_LONG_TEXTS = {"jobScript": "Job script", "slurmInfo": "Slurm"}


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a list of facts."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The job without its samples; `texts` are title and text of job script and the like, `note` is from the staff."""

    number: str
    state_word: str
    running: bool
    ran: str
    ran_of: str
    place: str
    size: str
    start: str
    start_iso: str
    energy: tuple[Fact, ...]
    energy_total: str
    facts: tuple[Fact, ...]
    hosts: tuple[tuple[str, str], ...]
    texts: tuple[tuple[str, str], ...]
    note: str
    remarks: tuple[str, ...] = ()


def build_job_record(job: Job, sub_cluster: SubCluster, zone: tzinfo | None) -> JobRecord:
    """The record of one job."""
    return JobRecord(
        number=str(job.job_id),
        state_word=STATE_WORDS[job.state],
        running=job.state is JobState.RUNNING,
        ran=format_duration(job.duration),
        ran_of=format_time_limit(job.walltime) if job.walltime else "",
        place=format_job_place(job),
        size=format_job_size(job, sub_cluster).replace(" · ", ", "),
        start=format_full_moment(job.start_time, zone),
        start_iso=format_iso_utc(job.start_time),
        energy=_energy_parts(job),
        energy_total=format_number(job.energy) if job.energy else "",
        facts=_facts(job, zone),
        hosts=tuple((r.hostname, _host_share(r.hwthreads, r.accelerators)) for r in job.resources),
        texts=_texts(job),
        note=(job.meta_data or {}).get("message", ""),
        remarks=record_warnings(job),
    )


def _energy_parts(job: Job) -> tuple[Fact, ...]:
    return tuple(
        Fact(metric_name(name), f"{format_number(value)} kWh")
        for name, value in sorted((job.energy_footprint or {}).items(), key=lambda item: -item[1])
    )


def _facts(job: Job, zone: tzinfo | None) -> tuple[Fact, ...]:
    """The scheduler's record, without what the head of the page says already."""
    pairs = [
        ("Partition", job.partition),
        ("Submitted", format_full_moment(job.submit_time, zone) if job.submit_time else ""),
        ("Waited", format_duration(job.start_time - job.submit_time) if 0 < job.submit_time <= job.start_time else ""),
        ("Ended", format_full_moment(job.stop_time, zone) if job.state is not JobState.RUNNING else ""),
        ("Time limit", format_time_limit(job.walltime) if job.walltime else ""),
        ("Memory asked for", format_memory(job.requested_memory) if job.requested_memory else ""),
        ("Hardware threads", format_number(job.num_hwthreads) if job.num_hwthreads else ""),
        ("GPUs", format_number(job.num_acc) if job.num_acc else ""),
        ("Array", str(job.array_job_id) if job.array_job_id else ""),
        ("Nodes", {"none": "used alone", "single_user": "shared by one person's jobs"}.get(job.shared, "shared")),
    ]
    return tuple(Fact(label, value) for label, value in pairs if value)


def _host_share(threads: Sequence[int], accelerators: Sequence[str]) -> str:
    parts = [count_noun(len(threads), "hardware thread")] if threads else ["whole node"]
    if accelerators:
        parts.append(count_noun(len(accelerators), "GPU"))
    return ", ".join(parts)


def _texts(job: Job) -> tuple[tuple[str, str], ...]:
    """Job script, scheduler's output and whatever else the site records, as plain text."""
    known = job.meta_data or {}
    out = [(title, known[key]) for key, title in _LONG_TEXTS.items() if known.get(key)]
    hidden = {"jobName", "message", HINTS, *_LONG_TEXTS}
    out += [(key, value) for key, value in known.items() if key not in hidden and value]
    return tuple(out)
