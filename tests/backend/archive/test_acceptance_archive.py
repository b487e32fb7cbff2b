"""What files of ClusterCockpit 1.5 must be readable, and what its readers must find in ours, on files of real sites."""

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from cc_backend.archive.data_json import decode_data_json, encode_data_json
from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.meta_json import decode_meta_json, encode_meta_json
from cc_backend.archive.statistics import compute_footprint, compute_job_statistics, finalize_job
from cc_backend.clusters import Cluster, parse_cluster
from cc_backend.model import Job, JobData, JobKey, MetricStatistic, MetricUnit, Scope

Document = dict[str, Any]

PAIRS = ("fritzMinimal", "fritzError")
REQUIRED_OF_META = {
    *("jobId", "user", "project", "cluster", "subCluster", "numNodes", "shared", "startTime", "duration", "jobState"),
    *("resources", "statistics"),
}
OMITTED_IF_ZERO = {"arrayJobId", "numHwthreads", "numAcc", "smt", "walltime", "requestedMemory", "submitTime", "id"}
SCHEMA_BASES = {"B", "F", "B/s", "F/s", "CPI", "IPC", "Hz", "W", "J", "°C", ""}
OVERRIDABLE = ("peak", "normal", "caution", "alert", "footprint", "energy", "lowerIsBetter", "restrict")


@pytest.fixture
def real(shared_fixtures: Path) -> FileArchive:
    """The archive of real jobs."""
    return FileArchive(shared_fixtures / "job-archive")


@pytest.fixture
def read_pair(shared_fixtures: Path) -> Callable[[str], tuple[Job, JobData]]:
    """Reads a pair of files that was made for the importer of ClusterCockpit 1.5."""

    def read(name: str) -> tuple[Job, JobData]:
        folder = shared_fixtures / "importer"
        job = decode_meta_json((folder / f"meta-{name}.input").read_bytes(), source=name)
        return job, decode_data_json((folder / f"data-{name}.json").read_bytes(), source=name)

    return read


@pytest.fixture
def read_cluster(shared_fixtures: Path) -> Callable[[str], tuple[Document, Cluster]]:
    """Reads a cluster.json: as it is, and as understood."""

    def read(name: str) -> tuple[Document, Cluster]:
        document = orjson.loads((shared_fixtures / name).read_bytes())
        return document, parse_cluster(document, source=name)[0]

    return read


def jobs_with_data(archive: FileArchive) -> Iterator[tuple[Job, JobData]]:
    for job in archive.iterate_jobs():
        yield job, archive.load_data(_key(job))


def _key(job: Job) -> JobKey:
    return JobKey(job.cluster, job.job_id, job.start_time)


def test_check_1_archives_of_version_3_are_read_and_written_in_the_same_layout(
    real: FileArchive, archive: FileArchive
) -> None:
    for job, data in jobs_with_data(real):
        (archive.root / job.cluster).mkdir(exist_ok=True)
        archive.store(job, data)
    written = {path.relative_to(archive.root).as_posix() for path in archive.root.glob("emmy/*/*/*/*")}
    assert written == {path.relative_to(real.root).as_posix() for path in real.root.glob("emmy/*/*/*/*")}
    assert len(written) == 4
    assert (archive.root / "version.txt").read_bytes() == (real.root / "version.txt").read_bytes() == b"3\n"


def test_check_2_packed_and_plain_samples_are_read_and_two_decimals_written_packed_above_2000_bytes(
    real: FileArchive, archive: FileArchive, read_pair: Callable[[str], tuple[Job, JobData]]
) -> None:
    found = [*jobs_with_data(real), *map(read_pair, PAIRS)]
    last, long = found[-1]
    for job, data in [*found, (replace(last, job_id=12), {"cpu_load": long["cpu_load"]})]:
        assert all(series.statistics for by_scope in data.values() for m in by_scope.values() for series in m.series)
        (archive.root / job.cluster).mkdir(exist_ok=True)
        archive.store(job, data)
        folder = archive.job_directory(_key(job))
        is_long = len(encode_data_json(data)) > 2000
        (path,) = (path for path in folder.iterdir() if path.name != "meta.json")
        assert path.name == ("data.json.gz" if is_long else "data.json")
        text = (gzip.decompress(path.read_bytes()) if is_long else path.read_bytes()).decode()
        for values in re.findall(r'"data":\[([^\]]+)\]', text):
            assert re.fullmatch(r"(-?\d+\.\d\d|null)(,(-?\d+\.\d\d|null))*", values)


@pytest.mark.parametrize(
    "over_time",
    [{"mean": [1.0, None], "min": [1.0, 1.0], "max": [1.0, 2.0]}, {"median": [1.0, None], "min": [1], "max": [2]}],
    ids=["mean of old files", "median of new files"],
)
def test_check_2_statistics_over_time_are_read_with_mean_or_median(shared_fixtures: Path, over_time: Document) -> None:
    document = orjson.loads((shared_fixtures / "importer/data-fritzMinimal.json").read_bytes())
    document["cpu_load"]["node"]["statisticsSeries"] = over_time
    read = decode_data_json(orjson.dumps(document), source="test")["cpu_load"][Scope.NODE].statistics_series
    assert read is not None
    assert (read.mean is None, read.median is None) == ("mean" not in over_time, "median" not in over_time)


def test_check_3_null_objects_unknown_keys_and_keys_of_older_versions_are_read(shared_fixtures: Path) -> None:
    document = orjson.loads((shared_fixtures / "importer/meta-fritzMinimal.input").read_bytes())
    for key in ("shared", "duration"):
        del document[key]
    nulls = {"metaData": None, "footprint": None, "energyFootprint": None, "tags": None}
    old = {"exclusive": 2, "stopTime": document["startTime"] + 177, "flops_any_avg": 1.5, "somethingNew": {"a": []}}
    job = decode_meta_json(orjson.dumps({**document, **nulls, **old}), source="test")
    assert (job.shared, job.duration, job.meta_data, job.footprint) == ("single_user", 177, None, None)


@pytest.mark.parametrize("name", PAIRS)
def test_check_3_required_keys_are_written_zeros_of_optional_ones_omitted_and_nothing_is_nan(
    read_pair: Callable[[str], tuple[Job, JobData]], name: str
) -> None:
    job, _ = read_pair(name)
    without_value = MetricStatistic(MetricUnit("W"), float("nan"), float("nan"), float("nan"))
    damaged = replace(job, energy=float("inf"), statistics={**(job.statistics or {}), "sys_power": without_value})
    text = encode_meta_json(damaged).decode()
    document = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert document.keys() >= REQUIRED_OF_META
    assert [key for key in OMITTED_IF_ZERO if key in document and not document[key]] == []


def test_check_4_any_text_is_read_as_a_unit_and_those_of_the_schema_are_written_where_possible(
    real: FileArchive, read_cluster: Callable[[str], tuple[Document, Cluster]]
) -> None:
    (job, *_) = (job for job, _ in jobs_with_data(real))
    assert (job.statistics or {})["cpu_load"].unit == MetricUnit("load")
    legacy, cluster = read_cluster("clusters/cluster-emmy.json")
    words = {metric["name"]: metric["unit"] for metric in legacy["metricConfig"]}
    units = {metric["name"]: metric["unit"] for metric in cluster.document["metricConfig"]}
    assert {type(word) for word in words.values()} == {str}
    assert (words["mem_bw"], units["mem_bw"]) == ("GB/s", {"base": "B/s", "prefix": "G"})
    outside = {name for name, unit in units.items() if unit["base"] not in SCHEMA_BASES}
    assert {words[name] for name in outside} == {units[name]["base"] for name in outside}


@pytest.mark.parametrize("name", ["job-archive/fritz/cluster.json", "job-archive/alex/cluster.json"])
def test_check_5_other_readers_find_the_same_metrics_in_what_we_write_of_a_cluster(
    read_cluster: Callable[[str], tuple[Document, Cluster]], name: str
) -> None:
    document, cluster = read_cluster(name)
    written = cluster.document
    for sub_cluster in written["subClusters"]:
        ours = {metric["name"]: _limits_of(metric) for metric in sub_cluster["metricConfig"]}
        assert ours == _effective_metrics(document, sub_cluster["name"])
        assert ours == _effective_metrics(written, sub_cluster["name"])


def _effective_metrics(document: Document, sub_cluster: str) -> dict[str, Document]:
    """The metrics of a subcluster as ClusterCockpit 1.5 finds them: an entry replaces all, also by what it lacks."""
    found = {}
    for metric in document["metricConfig"]:
        entries = [entry for entry in metric.get("subClusters") or () if entry["name"] == sub_cluster]
        if not any(entry.get("remove") for entry in entries):
            found[metric["name"]] = _limits_of(entries[-1] if entries else metric)
    return found


def _limits_of(entry: Mapping[str, Any]) -> Document:
    return {key: entry.get(key) or 0 for key in OVERRIDABLE}


@pytest.mark.parametrize("statistic", ["avg", "min", "max"])
def test_check_6_footprints_are_read_with_any_statistic_and_written_with_the_configured_one(
    read_pair: Callable[[str], tuple[Job, JobData]],
    read_cluster: Callable[[str], tuple[Document, Cluster]],
    statistic: str,
) -> None:
    job, data = read_pair("fritzMinimal")
    _, cluster = read_cluster("importer/cluster-fritz.json")
    old = replace(job, footprint={f"mem_used_{statistic}": 6.1})
    read = decode_meta_json(encode_meta_json(old), source="test")
    assert read.footprint == {f"mem_used_{statistic}": 6.1}
    anew = finalize_job(read, data, cluster.sub_clusters["main"]).footprint or {}
    assert sorted(anew) == ["cpu_load_avg", "flops_any_avg", "mem_bw_avg", "mem_used_max"]


@pytest.mark.parametrize("name", PAIRS)
def test_check_7_ids_that_old_files_repeat_are_unique_on_each_host_when_written(
    read_pair: Callable[[str], tuple[Job, JobData]], shared_fixtures: Path, name: str
) -> None:
    raw = orjson.loads((shared_fixtures / f"importer/data-{name}.json").read_bytes())
    assert [series["id"] for series in raw["cpu_power"]["socket"]["series"]] == ["0", "0"]
    written = orjson.loads(encode_data_json(read_pair(name)[1]))
    assert [series["id"] for series in written["cpu_power"]["socket"]["series"]] == ["0", "1"]
    for by_scope in written.values():
        for scope, metric in by_scope.items():
            ids = [(series["hostname"], series.get("id")) for series in metric["series"]]
            assert len(set(ids)) == len(ids)
            assert scope != "node" or {id_ for _, id_ in ids} == {None}


@pytest.mark.parametrize("name", PAIRS)
def test_check_9_statistics_of_a_job_are_what_its_file_says_and_are_computed_alike(
    read_pair: Callable[[str], tuple[Job, JobData]],
    read_cluster: Callable[[str], tuple[Document, Cluster]],
    shared_fixtures: Path,
    name: str,
) -> None:
    job, data = read_pair(name)
    _, cluster = read_cluster("importer/cluster-fritz.json")
    said = orjson.loads((shared_fixtures / f"importer/meta-{name}.input").read_bytes())["statistics"]
    computed = compute_job_statistics(job, data, cluster.sub_clusters["main"])
    assert computed.keys() == said.keys()
    for metric, numbers in said.items():
        read = (job.statistics or {})[metric]
        assert (read.min, read.avg, read.max) == (numbers["min"], numbers["avg"], numbers["max"])
        ours = computed[metric]
        assert (ours.min, ours.avg, ours.max) == pytest.approx((read.min, read.avg, read.max), abs=0.0051)
    footprint = compute_footprint(job.statistics or {}, cluster.sub_clusters["main"])
    assert footprint["mem_used_max"] == said["mem_used"]["max"]


@pytest.mark.parametrize("name", PAIRS)
def test_the_pairs_for_the_importer_are_the_jobs_that_it_is_to_make_of_them(
    read_pair: Callable[[str], tuple[Job, JobData]], shared_fixtures: Path, name: str
) -> None:
    job, _ = read_pair(name)
    golden = orjson.loads((shared_fixtures / f"importer/{name}-golden.json").read_bytes())
    assert {
        "jobId": job.job_id,
        "cluster": job.cluster,
        "startTime": job.start_time,
        "duration": job.duration,
    } == golden
