import dataclasses
import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from cc_backend.archive.data_json import encode_data_json
from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.statistics import finalize_job
from cc_backend.clusters import SubCluster, load_clusters
from cc_backend.errors import ArchiveError, InvalidInput, Unavailable
from cc_backend.model import Job, JobData, JobKey, JobMetric, MetricUnit, SampleSeries, Scope, Tag
from cc_backend.runtime import atomic_files

KEY = JobKey("tern", 7300412, 1760000000)


def _many() -> JobData:
    samples = np.full(2000, 1.5, dtype=np.float32)
    return {"cpu_load": {Scope.NODE: JobMetric(MetricUnit(""), 60, [SampleSeries("tn01", samples)])}}


def _loaded(archive: FileArchive) -> bytes:
    return encode_data_json(archive.load_data(KEY))


def _names(archive: FileArchive) -> set[str]:
    return {path.name for path in archive.job_directory(KEY).iterdir()}


# --- the archive as a whole


def test_a_new_archive_says_its_version(tmp_path: Path) -> None:
    archive = FileArchive.create(tmp_path / "var" / "archive")
    assert (archive.root / "version.txt").read_bytes() == b"3\n"
    assert archive.clusters() == []


def test_an_archive_that_is_away_is_a_fault_until_it_is_back_and_is_never_made_anew(
    archive: FileArchive, job: Job, data: JobData, caplog: pytest.LogCaptureFixture
) -> None:
    archive.store(job, data)
    archive.check()
    assert archive.faults() == []
    away = archive.root.with_name("away")
    archive.root.rename(away)
    for _ in range(2):
        archive.check()
        with pytest.raises(Unavailable):
            archive.store(job, data)
        with pytest.raises(Unavailable):
            archive.load_meta(KEY)
    assert not archive.root.exists()
    (fault,) = archive.faults()
    assert "put its folder back" in fault
    assert str(archive.root) not in fault
    away.rename(archive.root)
    archive.check()
    assert archive.faults() == []
    archive.load_meta(KEY)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


@pytest.mark.parametrize("what", ["a file", "an empty folder", "a folder of something else"])
def test_what_takes_the_place_of_an_archive_is_not_written_to(
    archive: FileArchive, job: Job, data: JobData, what: str
) -> None:
    archive.root.rename(archive.root.with_name("away"))
    if what == "a file":
        archive.root.write_text("")
    else:
        archive.root.mkdir()
        if what == "a folder of something else":
            (archive.root / "thesis.tex").touch()
    before = list(archive.root.parent.rglob("*"))
    archive.check()
    assert len(archive.faults()) == 1
    with pytest.raises(Unavailable):
        archive.store(job, data)
    assert list(archive.root.parent.rglob("*")) == before


def test_a_write_that_failed_is_a_fault_until_something_can_be_written(
    archive: FileArchive, job: Job, data: JobData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(ArchiveError):
            archive.store(job, data)
        archive.check()
        archive.check()
        assert archive.faults() == [
            "the job archive cannot be written: make room on its file system, or see what the log says"
        ]
    archive.check()
    assert archive.faults() == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    archive.store(job, data)
    assert not list(archive.root.glob("**/*.tmp"))


def test_rights_taken_away_are_a_fault(archive: FileArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    archive.check()
    assert len(archive.faults()) == 1


def test_creating_twice_changes_nothing(archive: FileArchive) -> None:
    (archive.root / "tern").mkdir()
    assert FileArchive.create(archive.root).clusters() == ["tern"]


def test_hidden_files_do_not_keep_an_archive_from_being_made(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    assert FileArchive.create(tmp_path).root == tmp_path


def test_a_folder_of_something_else_does_not_become_an_archive(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ArchiveError, match="neither empty nor a job archive"):
        FileArchive.create(tmp_path)


@pytest.mark.parametrize("text", ["2\n", "4\n", "", "3\n\n", " 3", "three\n", "3.0\n"])
def test_another_version_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "version.txt").write_text(text)
    with pytest.raises(ArchiveError, match="reads 3 only") as refused:
        FileArchive(tmp_path)
    assert repr(text.removesuffix("\n")) in str(refused.value)


@pytest.mark.parametrize("text", ["3", "3\n"])
def test_the_newline_after_the_version_may_be_missing(tmp_path: Path, text: str) -> None:
    (tmp_path / "version.txt").write_text(text)
    assert FileArchive(tmp_path).clusters() == []


def test_a_folder_without_version_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"it has no version\.txt"):
        FileArchive(tmp_path)


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"nowhere: there is no such folder; correct archive\.path"):
        FileArchive(tmp_path / "nowhere")


def test_a_version_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "version.txt").write_bytes(b"\xff")
    with pytest.raises(ArchiveError, match="cannot be read"):
        FileArchive(tmp_path)


def test_hidden_folders_and_files_are_no_clusters(archive: FileArchive) -> None:
    for name in ("tern", "gull", ".git"):
        (archive.root / name).mkdir()
    assert archive.clusters() == ["gull", "tern"]


# --- clusters


def test_a_cluster_is_kept_as_it_was_given(archive: FileArchive, cluster_document: dict[str, Any]) -> None:
    archive.store_cluster(cluster_document | {"comment": "kept"})
    assert archive.load_cluster("tern") == cluster_document | {"comment": "kept"}
    clusters, warnings = load_clusters(archive.root)
    assert clusters.names() == ["tern"]
    assert warnings == []


def test_a_useless_cluster_is_not_kept(archive: FileArchive) -> None:
    with pytest.raises(InvalidInput, match="metricConfig: needs at least one"):
        archive.store_cluster({"name": "tern"})
    assert archive.clusters() == []


def test_a_cluster_that_is_not_there_is_an_archive_error(archive: FileArchive) -> None:
    with pytest.raises(ArchiveError, match="No such file"):
        archive.load_cluster("gull")


# --- one job


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (KEY, "tern/7300/412/1760000000"),
        (JobKey("tern", 12, 5), "tern/0/012/5"),
        (JobKey("tern", 1000, 0), "tern/1/000/0"),
        (JobKey("tern", 0, 1), "tern/0/000/1"),
    ],
)
def test_a_job_has_its_place_by_its_key(archive: FileArchive, key: JobKey, path: str) -> None:
    assert archive.job_directory(key) == archive.root / path


def test_a_job_survives_storing_and_loading(
    archive: FileArchive, job: Job, data: JobData, sub_cluster: SubCluster
) -> None:
    finished = finalize_job(job, data, sub_cluster)
    archive.store(finished, data)
    assert archive.exists(KEY)
    assert archive.load_meta(KEY) == finished
    assert _loaded(archive) == encode_data_json(data)


def test_small_samples_stay_plain_and_large_ones_are_packed(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(job, data)
    assert _names(archive) == {"meta.json", "data.json"}
    archive.store(job, _many())
    assert _names(archive) == {"meta.json", "data.json.gz"}


@pytest.mark.parametrize(("length", "name"), [(2000, "data.json"), (2001, "data.json.gz")])
def test_the_line_is_drawn_above_2000_bytes(archive: FileArchive, job: Job, length: int, name: str) -> None:
    metric = JobMetric(MetricUnit(""), 60)
    padding = length - len(encode_data_json({"": {Scope.NODE: metric}}))
    archive.store(job, {"x" * padding: {Scope.NODE: metric}})
    assert _names(archive) == {"meta.json", name}


def test_a_packed_file_is_what_gzip_unpacks(archive: FileArchive, job: Job) -> None:
    archive.store(job, _many())
    raw = gzip.decompress((archive.job_directory(KEY) / "data.json.gz").read_bytes())
    assert raw == encode_data_json(_many())


def test_the_same_job_makes_the_same_bytes(archive: FileArchive, job: Job) -> None:
    path = archive.job_directory(KEY) / "data.json.gz"
    archive.store(job, _many())
    first = path.read_bytes()
    archive.store(job, _many())
    assert path.read_bytes() == first


def test_smaller_samples_replace_larger_ones(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(job, _many())
    archive.store(job, data)
    assert _loaded(archive) == encode_data_json(data)


def test_a_packed_file_is_read_before_a_plain_one(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(job, data)
    packed = archive.job_directory(KEY) / "data.json.gz"
    packed.write_bytes(gzip.compress(encode_data_json(_many())))
    assert _loaded(archive) == encode_data_json(_many())


def test_metadata_can_be_written_alone(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(job, data)
    archive.store_meta(dataclasses.replace(job, meta_data={"message": "idle"}))
    assert archive.load_meta(KEY).meta_data == {"message": "idle"}
    assert _loaded(archive) == encode_data_json(data)


def test_files_get_the_usual_permissions(archive: FileArchive, job: Job, data: JobData) -> None:
    mask = os.umask(0o027)
    try:
        archive.store(job, data)
    finally:
        os.umask(mask)
    assert (archive.job_directory(KEY) / "meta.json").stat().st_mode & 0o777 == 0o640
    assert archive.job_directory(KEY).stat().st_mode & 0o777 == 0o750


def test_a_job_without_metadata_is_not_there(archive: FileArchive) -> None:
    archive.job_directory(KEY).mkdir(parents=True)
    assert not archive.exists(KEY)
    with pytest.raises(ArchiveError, match=r"meta\.json: cannot be read: No such file"):
        archive.load_meta(KEY)


def test_missing_samples_are_an_archive_error(archive: FileArchive, job: Job) -> None:
    archive.store_meta(job)
    with pytest.raises(ArchiveError, match=r"data\.json: cannot be read: No such file"):
        archive.load_data(KEY)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda _: b"no gzip",
        lambda _: b"",
        lambda raw: raw[:20] + b"\xff\xff\xff" + raw[23:],
        lambda _: gzip.compress(b"{"),
    ],
)
def test_damaged_samples_are_an_archive_error_with_the_path(
    archive: FileArchive, job: Job, damage: Callable[[bytes], bytes]
) -> None:
    archive.store(job, _many())
    path = archive.job_directory(KEY) / "data.json.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArchiveError, match=f"^{path}: "):
        archive.load_data(KEY)


def test_metadata_of_another_job_is_refused(archive: FileArchive, job: Job) -> None:
    archive.store_meta(job)
    path = archive.job_directory(KEY) / "meta.json"
    path.write_bytes(path.read_bytes().replace(b"7300412", b"7300413"))
    with pytest.raises(ArchiveError, match="describes job 7300413 of 'tern'"):
        archive.load_meta(KEY)


def test_a_bomb_of_zeros_is_refused(archive: FileArchive, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_backend.archive.file_archive._LARGEST_DATA_BYTES", 1 << 20)
    archive.store_meta(job)
    (archive.job_directory(KEY) / "data.json.gz").write_bytes(gzip.compress(bytes(3 << 20)))
    with pytest.raises(ArchiveError, match="is larger than 1 MiB"):
        archive.load_data(KEY)


# --- names from outside never lead outside


@pytest.mark.parametrize(
    "cluster", ["", ".", "..", "../x", "/etc", "a/b", "a\\b/..", ".hidden", "a\0b", "tern\n", "x" * 300, "*"]
)
def test_no_cluster_name_leads_out_of_the_archive(archive: FileArchive, job: Job, cluster: str) -> None:
    key = JobKey(cluster, 1, 1)
    before = sorted(archive.root.parent.rglob("*"))
    for attempt in (
        lambda: archive.exists(key),
        lambda: archive.load_meta(key),
        lambda: archive.load_data(key),
        lambda: archive.store(dataclasses.replace(job, cluster=cluster), {}),
        lambda: archive.remove(key),
        lambda: archive.load_cluster(cluster),
    ):
        with pytest.raises(InvalidInput):
            attempt()
    assert sorted(archive.root.parent.rglob("*")) == before


@pytest.mark.parametrize("number", [-1, "1", "../../x", 1.0, True, None])
@pytest.mark.parametrize("field", ["job_id", "start_time"])
def test_no_number_that_is_none_becomes_part_of_a_path(archive: FileArchive, field: str, number: Any) -> None:
    with pytest.raises(InvalidInput, match="must be an integer"):
        archive.job_directory(dataclasses.replace(KEY, **{field: number}))


def test_a_cluster_cannot_be_stored_under_a_path(archive: FileArchive, cluster_document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="name: must be letters"):
        archive.store_cluster(cluster_document | {"name": "../tern"})


# --- interruptions


class _Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def _store_until_killed(archive: FileArchive, job: Job, data: JobData, *, before_rename: int) -> None:
    """Store a job in a process that ends just before it gives the given file its name, counted from 1."""
    calls = 0
    original = os.replace

    def dying(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == before_rename:
            raise _Killed
        original(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(_Killed):
            archive.store(job, data)


def test_a_kill_before_the_metadata_leaves_no_job(archive: FileArchive, job: Job) -> None:
    _store_until_killed(archive, job, _many(), before_rename=2)
    assert not archive.exists(KEY)
    assert list(archive.iterate_jobs()) == []


@pytest.mark.parametrize("before_rename", [1, 2])
@pytest.mark.parametrize("growing", [False, True])
def test_a_kill_while_samples_are_replaced_leaves_old_or_new_ones_whole(
    archive: FileArchive, job: Job, data: JobData, *, before_rename: int, growing: bool
) -> None:
    before, after = (data, _many()) if growing else (_many(), data)
    archive.store(job, before)
    _store_until_killed(archive, job, after, before_rename=before_rename)
    assert _loaded(archive) == encode_data_json(before if before_rename == 1 else after)
    assert archive.load_meta(KEY).job_id == job.job_id


def test_the_next_store_after_a_kill_cleans_up(archive: FileArchive, job: Job, data: JobData) -> None:
    _store_until_killed(archive, job, data, before_rename=1)
    assert any(name.endswith(".tmp") for name in _names(archive))
    archive.store(job, data)
    assert _names(archive) == {"meta.json", "data.json"}


def test_content_reaches_the_disk_before_it_gets_its_name(
    archive: FileArchive, job: Job, data: JobData, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    for function in ("fsync", "replace"):
        original = getattr(os, function)

        def seen(*arguments: Any, original: Callable[..., Any] = original, function: str = function) -> Any:
            events.append(function)
            return original(*arguments)

        monkeypatch.setattr(os, function, seen)
    archive.job_directory(KEY).mkdir(parents=True)
    archive.store(job, data)
    assert events == ["fsync", "replace", "fsync"] * 2


def test_a_full_disk_is_said_plainly_and_leaves_the_old_job(
    archive: FileArchive, job: Job, data: JobData, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.store(job, data)

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic_files, "_write_through", full)
    with pytest.raises(ArchiveError, match="cannot be written: No space left"):
        archive.store(job, _many())
    assert _names(archive) == {"meta.json", "data.json"}
    assert _loaded(archive) == encode_data_json(data)


def test_a_file_in_the_way_of_a_folder_is_said_plainly(archive: FileArchive, job: Job, data: JobData) -> None:
    (archive.root / "tern").touch()
    with pytest.raises(ArchiveError, match="cannot be made"):
        archive.store(job, data)


# --- many jobs


def test_jobs_are_iterated_in_the_order_of_their_keys(archive: FileArchive, job: Job) -> None:
    keys = [("gull", 5, 9), ("tern", 2, 30), ("tern", 2, 100), ("tern", 1001, 7), ("tern", 10001, 1)]
    for cluster, job_id, start_time in reversed(keys):
        archive.store_meta(dataclasses.replace(job, cluster=cluster, job_id=job_id, start_time=start_time))
    assert [(found.cluster, found.job_id, found.start_time) for found in archive.iterate_jobs()] == keys
    assert [found.job_id for found in archive.iterate_jobs("gull")] == [5]
    assert [(key.cluster, key.job_id, key.start_time) for key in archive.job_keys()] == keys


def test_what_is_no_job_is_passed_over(archive: FileArchive, job: Job, cluster_document: dict[str, Any]) -> None:
    archive.store_cluster(cluster_document)
    archive.store_meta(job)
    for name in (".git/1/001/1", "tern/x/001/1", "tern/01/001/1", "tern/1/1/1", "tern/1/001/now", "tern/1/.x"):
        (archive.root / name).mkdir(parents=True)
    assert [found.job_id for found in archive.iterate_jobs()] == [job.job_id]


def test_a_damaged_job_is_reported_and_the_rest_goes_on(archive: FileArchive, job: Job) -> None:
    for job_id in (1, 2, 3):
        archive.store_meta(dataclasses.replace(job, job_id=job_id))
    (archive.job_directory(JobKey("tern", 2, job.start_time)) / "meta.json").write_text("{")
    reported: list[ArchiveError] = []
    assert [found.job_id for found in archive.iterate_jobs(report=reported.append)] == [1, 3]
    assert ["0/002" in str(error) for error in reported] == [True]


def test_a_damaged_job_is_logged_if_nobody_asks(
    archive: FileArchive, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    archive.store_meta(job)
    (archive.job_directory(KEY) / "meta.json").write_text("{}")
    assert list(archive.iterate_jobs()) == []
    assert "damaged entry in the archive" in caplog.text


def test_iterating_a_cluster_without_jobs_is_empty(archive: FileArchive) -> None:
    assert list(archive.iterate_jobs("tern")) == []


def test_a_removed_job_is_gone_with_its_empty_folder(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(job, data)
    archive.remove(KEY)
    assert not archive.exists(KEY)
    assert not (archive.root / "tern/7300/412").exists()
    assert (archive.root / "tern/7300").exists()


def test_removing_a_job_spares_its_neighbour(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(job, data)
    later = dataclasses.replace(job, start_time=job.start_time + 1)
    archive.store(later, data)
    archive.remove(KEY)
    assert [found.start_time for found in archive.iterate_jobs()] == [later.start_time]


def test_removing_what_is_not_there_is_no_error(archive: FileArchive) -> None:
    archive.remove(KEY)


# --- real archives


@pytest.mark.parametrize(
    ("key", "length", "gaps"),
    [
        (JobKey("emmy", 1403244, 1608923076), 1441, 4221),
        (JobKey("emmy", 1404397, 1609300556), 1442, 4346),
    ],
)
def test_real_jobs_are_read_and_survive_another_round(
    shared_fixtures: Path, archive: FileArchive, key: JobKey, length: int, gaps: int
) -> None:
    real = FileArchive(shared_fixtures / "job-archive")
    job, data = real.load_meta(key), real.load_data(key)
    assert len(data) == 9
    for by_scope in data.values():
        (metric,) = by_scope.values()
        assert {len(series.data) for series in metric.series} == {length}
        assert len(metric.series) == job.num_nodes == 32
        assert sum(int(np.isnan(series.data).sum()) for series in metric.series) == gaps
    archive.store(job, data)
    again = archive.load_data(key)
    assert archive.load_meta(key) == job
    for name, by_scope in data.items():
        for old, new in zip(by_scope[Scope.NODE].series, again[name][Scope.NODE].series, strict=True):
            assert np.allclose(old.data, new.data, atol=0.00501, rtol=1e-6, equal_nan=True)
            assert (old.hostname, old.id) == (new.hostname, new.id)
    assert encode_data_json(again) == encode_data_json(data)


def test_a_real_archive_is_iterated(shared_fixtures: Path) -> None:
    real = FileArchive(shared_fixtures / "job-archive")
    assert [job.job_id for job in real.iterate_jobs()] == [1403244, 1404397]
    assert real.clusters() == ["alex", "emmy", "fritz"]


# --- tags and meta data that change later


TAGS = (Tag("app", "wave", "global", 7), Tag("note", "mine", "maru", 8))


def test_tags_and_meta_data_are_replaced_and_everything_else_stays(
    archive: FileArchive, job: Job, data: JobData
) -> None:
    archive.store(job, data)
    path = archive.job_directory(KEY) / "meta.json"
    before = {
        **orjson.loads(path.read_bytes()),
        "siteKey": [1, {"a": 0.1}],
        "concurrentJobs": {"items": [], "count": 3},
    }
    path.write_bytes(orjson.dumps(before))
    changed = dataclasses.replace(job, tags=TAGS, meta_data={"b": "2", "a": "<&>\n"}, user="other", energy=7.0)
    assert archive.update_meta(changed) is True
    after = orjson.loads(path.read_bytes())
    assert after == {
        **before,
        "tags": [{"type": tag.type, "name": tag.name, "scope": tag.scope, "id": tag.id} for tag in TAGS],
        "metaData": {"a": "<&>\n", "b": "2"},
    }
    assert archive.load_meta(KEY).tags == TAGS
    assert _loaded(archive) == encode_data_json(data)


def test_what_changes_nothing_writes_nothing(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(dataclasses.replace(job, tags=TAGS), data)
    path = archive.job_directory(KEY) / "meta.json"
    before = path.stat().st_ino
    assert archive.update_meta(dataclasses.replace(job, tags=TAGS)) is False
    assert path.stat().st_ino == before


def test_the_last_tag_and_all_meta_data_can_go(archive: FileArchive, job: Job, data: JobData) -> None:
    archive.store(dataclasses.replace(job, tags=TAGS), data)
    assert archive.update_meta(dataclasses.replace(job, tags=(), meta_data=None)) is True
    document = orjson.loads((archive.job_directory(KEY) / "meta.json").read_bytes())
    assert ("tags" in document, document["metaData"]) == (False, None)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"jobId": 7300413}'])
def test_a_damaged_or_foreign_meta_json_is_not_written_over(
    archive: FileArchive, job: Job, data: JobData, content: bytes
) -> None:
    archive.store(job, data)
    path = archive.job_directory(KEY) / "meta.json"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        archive.update_meta(dataclasses.replace(job, tags=TAGS))
    assert path.read_bytes() == content


def test_a_job_that_is_not_archived_has_nothing_to_change(archive: FileArchive, job: Job) -> None:
    with pytest.raises(ArchiveError):
        archive.update_meta(dataclasses.replace(job, tags=TAGS))
    assert not archive.job_directory(KEY).exists()
