"""Jobs by the million, one after the other: the same for the same cluster and seed, and none kept in memory."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from cc_common.job_events import JobStart, JobStop, Resource, TagEvent
from cc_demo.characters import CHARACTERS, ExpectedVerdict, JobCharacter, Placement
from cc_demo.cluster_shape import ClusterShape
from cc_demo.hashed_random import choice_at, hash_key, uniform_at
from cc_demo.lanes import JobLane, make_lanes

PEOPLE = (
    ("mlindq", "chem-102"), ("holsen", "flow-031"), ("wchen", "bio-077"), ("nhaddad", "mat-019"),
    ("pnair", "phys-014"), ("lferri", "mat-019"), ("tkowal", "phys-014"), ("adiallo", "clim-007"),
    ("jweiss", "flow-031"), ("sokafor", "phys-014"), ("rsaito", "chem-102"), ("ebauer", "bio-077"),
)  # fmt: skip
_FIRST_ID = 4_000_000
_MINUTE_S = 60
_SCRIPT = """#!/bin/bash -l
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --time={hours:02d}:00:00

srun ./{program} {name}.in
"""


@dataclass(frozen=True, slots=True)
class GeneratedJob:
    """One made-up job, the `index`-th of its lane; times are Unix seconds. `given_name` is its name if it has one."""

    cluster: str
    seed: int
    lane: JobLane
    index: int
    job_id: int
    start_time: int
    duration: int
    user: str
    project: str
    character: JobCharacter
    given_name: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def stop_time(self) -> int:
        """When it ends."""
        return self.start_time + self.duration

    @property
    def expected(self) -> ExpectedVerdict:
        """What is wrong with it, once it has ended: what its character says, and that it failed where it did."""
        truth = self.character.expected
        is_end_reported = self.state == "failed" and truth.verdict in ("ok", "none")
        return ExpectedVerdict("caution", {"end": "caution"}) if is_end_reported else truth

    @property
    def state(self) -> str:
        """How it ends."""
        return choice_at(self.character.states, self.seed, self.lane.number, self.index, "state")

    @property
    def walltime(self) -> int:
        """What was asked for, in seconds: whole hours, of a job that runs into its limit exactly its duration."""
        return self.duration if self.state == "timeout" else math.ceil(self.duration * 1.3 / 3600) * 3600

    @property
    def name(self) -> str:
        """The job name that its owner gave it."""
        if self.given_name:
            return self.given_name
        program = choice_at(self.character.programs, self.seed, self.lane.number, self.index, "program")
        return f"{program}_{hash_key(self.seed, self.lane.number, self.index, 'name') % 1000:03d}"

    def start_event(self) -> JobStart:
        """What a scheduler's adapter sends at the start."""
        node, hosts, threads = self.lane.node, self.lane.hosts, self.lane.hwthreads
        gpus = node.gpu_ids()
        name = self.name
        script = _SCRIPT.format(
            name=name, nodes=len(hosts), hours=-(-self.walltime // 3600), program=name.rpartition("_")[0]
        )
        return JobStart(
            cluster=self.cluster,
            sub_cluster=node.name,
            partition=node.name,
            user=self.user,
            project=self.project,
            job_id=self.job_id,
            array_job_id=self.job_id - self.job_id % 100 if self.character.is_array else 0,
            start_time=self.start_time,
            submit_time=self.start_time - 60 - int(uniform_at(self.seed, self.lane.number, self.index, "wait") * 5000),
            num_nodes=len(hosts),
            num_hwthreads=(len(threads) or node.hwthreads) * len(hosts),
            num_acc=len(gpus) * len(hosts),
            smt=node.threads_per_core,
            shared="multi_user" if threads else "none",
            walltime=self.walltime,
            resources=tuple(Resource(host, threads, gpus) for host in hosts),
            meta_data={"jobName": name, "jobScript": script},
            tags=tuple(TagEvent(type=kind, name=tag, scope="global") for kind, tag in self.tags),
        )

    def stop_event(self) -> JobStop:
        """What a scheduler's adapter sends at the end."""
        return JobStop(self.job_id, self.stop_time, self.state, self.cluster, self.start_time)


def generate_jobs(
    shape: ClusterShape,
    seed: int | Sequence[int],
    count: int | None = None,
    *,
    first_start_s: int,
    people: Sequence[tuple[str, str]] = PEOPLE,
    only: str = "",
) -> Iterator[GeneratedJob]:
    """Jobs in the order of their starts, for ever or `count` of them; each lane of the cluster runs one at a time.

    One seed serves all lanes, a sequence has one for each. `only` names a character that all jobs are to have; lanes
    that do not fit it stay empty then. Memory does not grow with the number of jobs.
    """
    lanes = make_lanes(shape)
    start = _Start(shape.name, first_start_s, 10 ** len(str(len(lanes))))
    seeds = [seed] * len(lanes) if isinstance(seed, int) else seed
    streams = [_generate_lane_jobs(start, seeds[lane.number], lane, people, only) for lane in lanes]
    merged = heapq.merge(*streams, key=lambda job: (job.start_time, job.lane.number))
    return islice(merged, count)


@dataclass(frozen=True, slots=True)
class _Start:
    """What all lanes have in common; `ids_a_minute` are the job numbers that a minute has room for."""

    cluster: str
    first_start_s: int
    ids_a_minute: int


def _generate_lane_jobs(
    start: _Start, seed: int, lane: JobLane, people: Sequence[tuple[str, str]], only: str
) -> Iterator[GeneratedJob]:
    choices = _fitting_characters(lane.place, only)
    if not choices:
        return
    start_s = start.first_start_s + int(uniform_at(seed, lane.number, "first") * 1800)
    index = 0
    while True:
        where = (seed, lane.number, index)
        character = choice_at(choices, *where, "character")
        low, high = math.log(character.shortest_s), math.log(character.longest_s)
        duration = int(math.exp(low + (high - low) * uniform_at(*where, "duration")))
        user, project = choice_at(people, *where, "user")
        minute = (start_s - start.first_start_s) // _MINUTE_S
        yield GeneratedJob(
            cluster=start.cluster,
            seed=seed,
            lane=lane,
            index=index,
            job_id=_FIRST_ID + minute * start.ids_a_minute + lane.number,
            start_time=start_s,
            duration=duration,
            user=user,
            project=project,
            character=character,
        )
        # at least a minute, so that the next one has another number
        pause_s = 1200 if lane.place is Placement.SHORT else 1800
        start_s += max(duration, _MINUTE_S) + _MINUTE_S + int(uniform_at(*where, "pause") * pause_s)
        index += 1


@cache
def _fitting_characters(place: Placement, only: str) -> tuple[JobCharacter, ...]:
    """The characters that can run at a place, each as often as its weight says."""
    found = (character for character in CHARACTERS.values() if place in character.places)
    return tuple(
        character for character in found if not only or character.name == only for _ in range(character.weight)
    )
