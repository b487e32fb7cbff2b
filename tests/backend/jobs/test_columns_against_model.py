"""Lists, totals and statistics of random jobs equal a plain model in Python, before and after random changes.

Each random filter is asked three times: of the columns in memory, of the database, and of the model.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.jobs.filters import FootprintRange, JobFilter, TextMatch, TextOperator
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_rows import insert_jobs, replace_footprint
from cc_backend.jobs.job_statistics import DURATION_BINS, SORTS, GroupBy, JobStatistics, Totals
from cc_backend.jobs.tables import NOT_JUDGED, JobRow, JobTagRow, TagRow
from cc_backend.model import Job, JobState, Judgement, Level, MonitoringStatus, Resource, RowRule

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
SHORT_S = 300
RULES = (
    ALL,
    RowRule(user="ada"),
    RowRule(user="bob", projects=("p1", "p2")),
    RowRule(all_jobs=True, allowed_clusters=("skua",)),
)
KEYS = ("mem_used_max", "cpu_load_avg")
LEVELS = (None, *Level)
TAGS = (1, 2, 3)


class Model:
    """Jobs in a list, and what is asked of them."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.tags: dict[int, set[int]] = {job.id: set() for job in jobs}

    def found(self, wanted: JobFilter, rule: RowRule) -> list[Job]:
        return [job for job in self.jobs.values() if rule.allows(job) and self.matches(job, wanted)]

    def matches(self, job: Job, wanted: JobFilter) -> bool:  # one condition after the other
        duration = NOW_S - job.start_time if job.state is JobState.RUNNING else job.duration
        hosts = {resource.hostname for resource in job.resources}
        verdict = job.judgement.level if job.judgement else None
        texts = {"user": job.user, "project": job.project, "jobName": job.name, "cluster": job.cluster,
                 "subCluster": job.sub_cluster, "partition": job.partition, "jobId": str(job.job_id)}  # fmt: skip
        return all((
            not wanted.states or job.state in wanted.states,
            not wanted.clusters or job.cluster in wanted.clusters,
            not wanted.sub_clusters or job.sub_cluster in wanted.sub_clusters,
            not wanted.partitions or job.partition in wanted.partitions,
            not wanted.users or job.user in wanted.users,
            not wanted.projects or job.project in wanted.projects,
            not wanted.shared or job.shared in wanted.shared,
            inside(job.start_time, wanted.started_from_s, wanted.started_to_s),
            inside(duration, wanted.duration_from_s, wanted.duration_to_s),
            inside(job.num_nodes, wanted.nodes_from, wanted.nodes_to),
            inside(job.num_hwthreads, wanted.threads_from, wanted.threads_to),
            inside(job.num_acc, wanted.accelerators_from, wanted.accelerators_to),
            inside(job.energy, wanted.energy_from, wanted.energy_to),
            wanted.ran_at_s is None or job.start_time <= wanted.ran_at_s <= job.start_time + duration,
            inside(job.start_time, None, wanted.ran_to_s),
            inside(job.start_time + duration, wanted.ran_from_s, None),
            wanted.interactive is None or (job.name == "interactive") == wanted.interactive,
            not wanted.text or self.has_text(job, wanted, hosts),
            wanted.name.lower() in job.name.lower(),
            wanted.user_contains.lower() in job.user.lower(),
            wanted.project_contains.lower() in job.project.lower(),
            not wanted.hosts or bool(hosts & set(wanted.hosts)),
            not wanted.host_contains or any(wanted.host_contains.lower() in host for host in hosts),
            not wanted.ids or job.id in wanted.ids,
            not wanted.job_ids or job.job_id in wanted.job_ids,
            wanted.job_id is None or job.job_id == wanted.job_id,
            wanted.array_job_id is None or job.array_job_id == wanted.array_job_id,
            wanted.tags is not None and (not wanted.tags or bool(self.tags[job.id] & set(wanted.tags))),
            all(self.tags[job.id] & set(group) for group in wanted.all_tags),
            not self.tags[job.id] & set(wanted.no_tags),
            not wanted.verdicts or verdict in wanted.verdicts,
            wanted.ended_from_s is None
            or (job.state is not JobState.RUNNING and job.start_time + job.duration >= wanted.ended_from_s),
            all(
                entry.key in (job.footprint or {})
                and inside((job.footprint or {})[entry.key], entry.from_value, entry.to_value)
                for entry in wanted.footprint
            ),
            not wanted.overdue or replace(job, duration=duration).is_overdue,
            all(
                any(has(match, host) for host in hosts) if match.field == "node" else has(match, texts[match.field])
                for match in wanted.texts
            ),
        ))  # fmt: skip

    def has_text(self, job: Job, wanted: JobFilter, hosts: set[str]) -> bool:
        part = wanted.text.lower()
        numbers = (str(job.job_id), str(job.array_job_id) if job.array_job_id else "")
        return (
            any(part in text.lower() for text in (job.name, job.user, job.project))
            or wanted.text in hosts
            or job.user in wanted.text_users
            or (part.isdigit() and part[0] != "0" and any(number.startswith(part) for number in numbers))
        )


def inside(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def has(match: TextMatch, text: str) -> bool:
    if not match.values:
        return False
    value = match.values[0]
    return {
        TextOperator.EQ: text == value,
        TextOperator.NEQ: text != value,
        TextOperator.IN: text in match.values,
        TextOperator.CONTAINS: value.lower() in text.lower(),
        TextOperator.STARTS_WITH: text.lower().startswith(value.lower()),
        TextOperator.ENDS_WITH: text.lower().endswith(value.lower()),
    }[match.operator]


def random_job(pick: random.Random, number: int) -> Job:
    cluster = pick.choice(("tern", "skua"))
    state = pick.choice((JobState.RUNNING, JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED, JobState.TIMEOUT))
    hosts = pick.sample(["n01", "n02", "n10", "x_1", "x%1"], pick.randint(1, 3))
    level = pick.choice(LEVELS)
    return Job(
        job_id=pick.choice((number, 7 * number, 10 ** pick.randint(1, 12) + number)),
        cluster=cluster,
        sub_cluster=pick.choice(("std", "fat")),
        partition=pick.choice(("", "day", "night")),
        user=pick.choice(("ada", "bob", "Eve", "e_e")),
        project=pick.choice(("p1", "p2", "p%", "")),
        array_job_id=pick.choice((0, 0, 77, 771)),
        start_time=NOW_S - pick.choice((100, 100, 4000, 50_000, 900_000)) - pick.randint(0, 50),
        submit_time=NOW_S - pick.randint(0, 10**6),
        resources=tuple(Resource(host) for host in hosts),
        num_nodes=pick.choice((len(hosts), 40_000, 2**31 - 1)),
        num_hwthreads=pick.choice((0, 4, 64, 2**31 - 1)),
        num_acc=pick.choice((0, 0, 4)),
        shared=pick.choice(("none", "single_user", "multi_user")),
        walltime=pick.choice((0, 60, 86_400)),
        duration=0 if state is JobState.RUNNING else pick.choice((0, 299, 300, 3599, 3600, 10**6, 10**9)),
        state=state,
        monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING,
        meta_data={"jobName": pick.choice(("relax", "interactive", "Relax 100%", "a_b", "aXb", "größe"))},
        footprint={key: float(pick.randint(0, 5)) for key in KEYS if pick.random() < 0.6} or None,
        energy=pick.choice((0.0, 1.5, 1e9)),
        judgement=Judgement(level, None, 0, NOW_S, 1) if pick.random() < 0.7 else None,
    )


def random_filter(pick: random.Random) -> JobFilter:
    """A filter of one to three conditions."""

    def some(*values: Any) -> tuple[Any, ...]:
        return tuple(pick.sample(values, pick.randint(1, min(2, len(values)))))

    match = TextMatch(
        pick.choice(("user", "project", "jobName", "cluster", "subCluster", "partition", "node", "jobId")),
        pick.choice(tuple(TextOperator)),
        some("ada", "p", "relax", "a_b", "%", "_", "n0", "1", "7", "", "tern", "X") if pick.random() < 0.95 else (),
    )
    low = pick.choice((None, 0, 2))
    if match.operator is not TextOperator.IN:
        match = replace(match, values=match.values[:1])
    choices: list[dict[str, Any]] = [
        {"states": some(*JobState)},
        {"clusters": ("skua",)},
        {"sub_clusters": some("std", "fat", "none")},
        {"partitions": some("day", "night", "")},
        {"users": some("ada", "bob", "Eve", "nobody")},
        {"projects": some("p1", "p2", "p%")},
        {"shared": some("none", "single_user")},
        {"started_from_s": NOW_S - pick.choice((120, 5000, 10**6))},
        {"started_to_s": NOW_S - pick.choice((0, 100, 4000))},
        {"duration_from_s": pick.choice((0, 300, 3600, 10**12)), "duration_to_s": pick.choice((None, 3600, 0))},
        {"nodes_from": pick.choice((0, 2, 50_000)), "nodes_to": pick.choice((None, 2, 2**60))},
        {"threads_from": 1, "threads_to": pick.choice((None, 64))},
        {"accelerators_from": 0, "accelerators_to": pick.choice((0, 3, 4))},
        {"energy_from": pick.choice((0.0, 1.0)), "energy_to": pick.choice((None, 2.0, 0.0))},
        {"ran_at_s": NOW_S - pick.choice((0, 150, 10**5))},
        {"ran_from_s": NOW_S - pick.choice((0, 4000, 10**5)), "ran_to_s": pick.choice((None, NOW_S - 90, NOW_S))},
        {"interactive": pick.random() < 0.5},
        {"text": pick.choice(("rel", "RELAX", "n01", "1", "7", "77", "a_b", "%", "0", "bob"))},
        {"text": "77", "text_users": some("Eve")},
        {"name": pick.choice(("elax", "100%", "_"))},
        {"user_contains": pick.choice(("e", "_", "A"))},
        {"project_contains": pick.choice(("p", "%"))},
        {"hosts": some("n01", "n10", "x_1", "nowhere")},
        {"host_contains": pick.choice(("0", "_", "%", "x"))},
        {"ids": some(1, 5, 9, 999)},
        {"job_ids": some(1, 7, 14, 10**17)},
        {"job_id": pick.randint(1, 30)},
        {"array_job_id": pick.choice((77, 5))},
        {"tags": pick.choice((None, some(*TAGS)))},
        {"all_tags": (some(*TAGS), some(*TAGS))},
        {"no_tags": some(*TAGS)},
        {"verdicts": some(*LEVELS)},
        {"ended_from_s": NOW_S - pick.choice((0, 4000, 10**6))},
        {"footprint": (FootprintRange(pick.choice((*KEYS, "other_avg")), low, pick.choice((None, 2, 4))),)},
        {"overdue": True},
        {"texts": (match,)},
    ]  # fmt: skip
    return JobFilter(**{key: value for part in pick.sample(choices, pick.randint(1, 3)) for key, value in part.items()})


def change_randomly(pick: random.Random, database: Database, model: Model) -> None:
    """Change, stop, tag, delete or add some jobs, in the database and in the model."""
    for _ in range(pick.randint(1, 12)):
        id_ = pick.choice(list(model.jobs))
        job = model.jobs[id_]
        with database.write():
            kind = pick.randrange(6)
            if kind == 0:
                job.state, job.duration = JobState.CANCELLED, pick.randint(0, 2000)
                JobRow.update(state="cancelled", duration=job.duration).where(JobRow.id == id_).execute(database)
            elif kind == 1:
                JobRow.delete().where(JobRow.id == id_).execute(database)
                del model.jobs[id_], model.tags[id_]
            elif kind == 2:
                job.footprint = {"mem_used_max": float(pick.randint(0, 5))} if pick.random() < 0.7 else None
                replace_footprint(database, id_, job.footprint)
            elif kind == 3:
                level = pick.choice(LEVELS)
                job.judgement = Judgement(level, None, 0, NOW_S, 1)
                order = NOT_JUDGED if level is None else level.order
                JobRow.update(verdict=order).where(JobRow.id == id_).execute(database)
            elif kind == 4:
                tag = pick.choice(TAGS)
                JobTagRow.insert(job=id_, tag=tag).on_conflict_ignore().execute(database)
                model.tags[id_].add(tag)
            else:
                add_jobs(pick, database, model, pick.randint(1, 90 if pick.random() < 0.1 else 3))


def add_jobs(pick: random.Random, database: Database, model: Model, count: int) -> None:
    first = max([0, *model.jobs]) + 1000
    jobs = [random_job(pick, first + number) for number in range(count)]
    with database.write():
        for job, id_ in zip(jobs, insert_jobs(database, jobs), strict=True):
            job.id = id_
            model.jobs[id_], model.tags[id_] = job, set()


def totals_of(jobs: Sequence[Job], group: str = "") -> Totals:
    def ran(job: Job) -> int:
        return NOW_S - job.start_time if job.state is JobState.RUNNING else job.duration

    return Totals(
        group=group,
        jobs=len(jobs),
        users=len({job.user for job in jobs}),
        running_jobs=sum(job.state is JobState.RUNNING for job in jobs),
        short_jobs=sum(ran(job) < SHORT_S for job in jobs),
        nodes=sum(job.num_nodes for job in jobs),
        cores=sum(job.num_hwthreads for job in jobs),
        accelerators=sum(job.num_acc for job in jobs),
        wall_s=sum(map(ran, jobs)),
        node_s=sum(ran(job) * job.num_nodes for job in jobs),
        core_s=sum(ran(job) * job.num_hwthreads for job in jobs),
        accelerator_s=sum(ran(job) * job.num_acc for job in jobs),
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_answer_equals_that_of_a_plain_model(database: Database, clusters: ClusterRegistry, seed: int) -> None:
    pick = random.Random(seed)  # noqa: S311 not a secret
    with database.write():
        for tag in TAGS:
            TagRow.insert(id=tag, type="t", name=str(tag)).execute(database)
    columns = JobColumns(database)
    in_memory = JobQueries(database, clusters, columns=columns)
    in_sql = JobQueries(database, clusters)
    sums = JobStatistics(database, clusters, in_memory, columns, short_job_s=SHORT_S)
    model = Model([])
    add_jobs(pick, database, model, 70)
    for _ in range(6):
        for _ in range(25):
            wanted, rule = random_filter(pick), pick.choice(RULES)
            check_list(pick, model, (wanted, rule), in_memory=in_memory, in_sql=in_sql)
            check_statistics(pick, model, wanted, rule, sums)
        change_randomly(pick, database, model)


def check_list(
    pick: random.Random, model: Model, asked: tuple[JobFilter, RowRule], *, in_memory: JobQueries, in_sql: JobQueries
) -> None:
    wanted, rule = asked
    jobs = model.found(wanted, rule)
    newest = [job.id for job in sorted(jobs, key=lambda job: (job.start_time, job.id), reverse=True)]
    page, per = pick.randint(1, 3), pick.choice((1, 7, 100))
    for queries in (in_memory, in_sql):
        found = queries.find(wanted, rule, now_s=NOW_S, page=page, items_per_page=per)
        assert [job.id for job in found.jobs] == newest[(page - 1) * per : page * per], (wanted, rule)
        assert found.total == len(jobs) == queries.count(wanted, rule, now_s=NOW_S)
        counted = Counter(job.state for job in jobs)
        assert queries.count_by_state(wanted, rule, now_s=NOW_S) == counted
        order, descending = (
            pick.choice(("duration", "user", "verdict", "stopTime", "mem_used_max", "energy")),
            pick.random() < 0.5,
        )
    one, other = (
        [job.id for job in queries.find(wanted, rule, now_s=NOW_S, order=order, descending=descending).jobs]
        for queries in (in_memory, in_sql)
    )
    assert one == other, (order, descending, wanted)
    assert in_memory.facets(rule) == in_sql.facets(rule)


def check_statistics(pick: random.Random, model: Model, wanted: JobFilter, rule: RowRule, sums: JobStatistics) -> None:
    jobs = model.found(wanted, rule)
    assert sums.totals(wanted, rule, now_s=NOW_S) == totals_of(jobs), wanted
    group_by, sort_by = pick.choice(tuple(GroupBy)), pick.choice(tuple(SORTS))
    attribute = {"subCluster": "sub_cluster"}.get(group_by, str(group_by))
    groups = [
        totals_of([job for job in jobs if getattr(job, attribute) == name], name)
        for name in {getattr(job, attribute) for job in jobs}
    ]
    groups.sort(key=lambda group: (-getattr(group, SORTS[sort_by]), group.group))
    found = sums.grouped(wanted, rule, group_by, now_s=NOW_S, sort_by=sort_by, page=1, items_per_page=2)
    assert (found.groups, found.total) == (groups[:2], len(groups)), (wanted, group_by, sort_by)
    name = pick.choice(tuple(DURATION_BINS))
    count, width = DURATION_BINS[name]
    histograms = sums.histograms(wanted, rule, now_s=NOW_S, duration_bins=name)
    ran = [NOW_S - job.start_time if job.state is JobState.RUNNING else job.duration for job in jobs]
    bins = Counter(duration // width for duration in ran)
    assert histograms.duration.counts == [bins[place] for place in range(count)]
    assert histograms.duration.beyond == sum(number for place, number in bins.items() if place >= count)
    assert dict(histograms.nodes.counts) == Counter(job.num_nodes for job in jobs)
    assert dict(histograms.cores.counts) == Counter(job.num_hwthreads for job in jobs)
    assert dict(histograms.accelerators.counts) == Counter(job.num_acc for job in jobs)


@pytest.mark.parametrize("operator", TextOperator)
@pytest.mark.parametrize(
    "part", ["1", "0", "10", "07", "75", "1075", "9223372036854775807", "9" * 19, "x", "%", "", "1 "]
)
def test_job_ids_are_compared_as_they_are_written(
    database: Database, clusters: ClusterRegistry, part: str, operator: TextOperator
) -> None:
    numbers = (0, 1, 7, 10, 75, 100, 107, 1075, 7501, 2**63 - 1)
    jobs = [replace(random_job(random.Random(1), 1), job_id=number) for number in numbers]  # noqa: S311 not a secret
    with database.write():
        insert_jobs(database, jobs)
    match = TextMatch("jobId", operator, (part,))
    expected = {number for number in numbers if has(match, str(number))}
    for columns in (JobColumns(database), None):
        queries = JobQueries(database, clusters, columns=columns)
        found = queries.find(JobFilter(texts=(match,)), ALL, now_s=NOW_S, items_per_page=100)
        assert {job.job_id for job in found.jobs} == expected
