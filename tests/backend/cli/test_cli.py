"""The command line, as a person and a script use it."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cc_backend.auth.sessions import Sessions
from cc_backend.db.opening import open_database
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.job_rows import insert_job
from cc_backend.model import Job, JobState, Resource, RowRule
from cc_backend.runtime.lockfile import LockFile
from cc_backend.settings import SAMPLE_PUBLIC_KEY, load_settings
from cc_backend.startup.data_locks import missing_database_warning, record_database_file

COMMAND = Path(sys.executable).parent / "cc-backend"


def cc_backend(*arguments: object, given: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CC_")}
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )


def rows(table: str) -> list[list[str]]:
    """The rows of a printed list, without its header."""
    return [line.split("\t") for line in table.splitlines()[1:]]


@pytest.fixture
def fresh_config(tmp_path: Path) -> Path:
    done = cc_backend("init", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    return tmp_path / "site" / "config.json"


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("initialised") / "site"
    done = cc_backend("init", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def config(initialised: Path, tmp_path: Path) -> Path:
    """A folder as `init` made it, to be changed at will."""
    shutil.copytree(initialised, tmp_path / "site")
    return tmp_path / "site" / "config.json"


@pytest.fixture
def cluster_file(tmp_path: Path, tern: dict[str, Any]) -> Path:
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(tern), "utf-8")
    return path


def test_init_makes_a_folder_that_only_its_owner_can_read(fresh_config: Path) -> None:
    private = [fresh_config, *(fresh_config.parent / "secrets").iterdir()]
    assert len(private) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE((fresh_config.parent / "secrets").stat().st_mode) == 0o700


def test_init_twice_changes_nothing(fresh_config: Path) -> None:
    before = fresh_config.read_bytes()
    done = cc_backend("init", fresh_config.parent)
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert fresh_config.read_bytes() == before


def test_a_token_is_printed_alone(config: Path, cluster_file: Path) -> None:
    assert cc_backend("cluster", "add", cluster_file, "--config", config).returncode == 0
    done = cc_backend("token", "create", "agents", "--config", config, "--scope", "write", "--cluster", "tern")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1
    assert done.stdout.count(".") == 2
    assert "service account" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "scopes read; all clusters; ends 20"),
        (("--scope", "write", "--scope", "jobs"), "scopes jobs, write; all clusters; ends 20"),
        (("--scope", "read", "--cluster", "tern"), "scopes read; clusters tern; ends 20"),
        (("--scope", "all"), "all that its roles may: api; all clusters; ends 20"),
    ],
)
def test_what_a_token_may_and_when_it_ends_is_said_on_standard_error(
    config: Path, cluster_file: Path, options: tuple[str, ...], said: str
) -> None:
    cc_backend("cluster", "add", cluster_file, "--config", config)
    done = cc_backend("token", "create", "agents", "--config", config, *options)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    (row,) = rows(cc_backend("token", "list", "--config", config).stdout)
    assert row[0] in done.stderr


def test_a_token_for_a_cluster_that_does_not_exist_is_refused_and_makes_no_account(
    config: Path, cluster_file: Path
) -> None:
    cc_backend("cluster", "add", cluster_file, "--config", config)
    for name, hint in (("terrn", "did you mean 'tern'?"), ("zzz", "known are tern")):
        done = cc_backend("token", "create", "agents", "--config", config, "--cluster", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert hint in done.stderr
    refused = cc_backend("token", "create", "agents", "--config", config, "--scope", "admin")
    assert "made the service account" not in refused.stderr
    assert (refused.returncode, refused.stdout) == (1, "")
    assert rows(cc_backend("user", "list", "--config", config).stdout) == []


def test_a_new_password_ends_logins_and_is_asked_for_an_account_that_exists(config: Path) -> None:
    cc_backend("user", "add", "ada", "--config", config, given="a good password\n")
    assert cc_backend("user", "password", "ada", "--config", config, given="another password\n").returncode == 0
    assert cc_backend("user", "password", "ada", "--config", config, given="short\n").returncode == 1
    made_up = cc_backend("user", "password", "ada", "--config", config, "--generate")
    assert len(made_up.stdout.split()) == 1
    missing = cc_backend("user", "password", "nobody", "--config", config, given="a good password\n")
    assert (missing.returncode, "nobody" in missing.stderr) == (1, True)


def test_roles_projects_and_states_of_an_account_change(config: Path) -> None:
    def run(*words: str) -> str:
        done = cc_backend("user", *words, "--config", config)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    cc_backend("user", "add", "ada", "--config", config, given="a good password\n")
    assert run("role", "add", "ada", "manager") == "manager,user"
    assert run("project", "add", "ada", "chem07") == "chem07"
    run("disable", "ada")
    assert rows(run("list")) == [["ada", "manager,user", "chem07", "local", "disabled"]]
    run("enable", "ada")
    assert run("project", "remove", "ada", "chem07") == "-"
    assert run("role", "remove", "ada", "manager") == "user"
    assert rows(run("list")) == [["ada", "user", "-", "local", "active"]]
    wrong = cc_backend("user", "role", "add", "ada", "king", "--config", config)
    assert (wrong.returncode, "king" in wrong.stderr) == (1, True)


def test_logins_are_listed_and_ended(config: Path) -> None:
    for name in ("ada", "bob"):
        cc_backend("user", "add", name, "--config", config, given="a good password\n")
    database = open_database(config.parent / "var/job.db")
    sessions = Sessions(database)
    cookies = {name: sessions.create(name, time.time()) for name in ("ada", "bob")}
    sessions.create("bob", time.time() - 8 * 86400)
    listed = rows(cc_backend("session", "list", "--config", config).stdout)
    assert sorted(row[1] for row in listed) == ["ada", "bob"]
    (ada,) = rows(cc_backend("session", "list", "--user", "ada", "--config", config).stdout)
    assert cookies["ada"] not in " ".join(ada)
    assert cc_backend("session", "end", ada[0], "--config", config).returncode == 0
    assert sessions.lookup(cookies["ada"], time.time()) is None
    assert cc_backend("session", "end", ada[0], "--config", config).returncode == 1
    ended = cc_backend("session", "end", "--user", "bob", "--config", config)
    assert "ended" in ended.stderr
    assert sessions.lookup(cookies["bob"], time.time()) is None
    assert cc_backend("session", "end", "--config", config).returncode == 1
    database.close_all()


def test_all_tokens_of_an_account_are_revoked_at_once(config: Path) -> None:
    for _ in range(2):
        cc_backend("token", "create", "agents", "--config", config)
    cc_backend("token", "create", "others", "--config", config)
    done = cc_backend("token", "revoke", "--user", "agents", "--config", config)
    assert "revoked 2 tokens" in done.stderr
    listed = rows(cc_backend("token", "list", "--config", config).stdout)
    assert sorted((row[1], row[4] == "revoked") for row in listed) == [
        *[("agents", True)] * 2,
        ("others", False),
    ]
    assert len(rows(cc_backend("token", "list", "--user", "others", "--config", config).stdout)) == 1
    assert cc_backend("token", "revoke", "--config", config).returncode == 1


def test_tokens_of_accounts_that_are_closed_say_so_in_the_list(config: Path) -> None:
    cc_backend("token", "create", "agents", "--config", config)
    cc_backend("user", "disable", "agents", "--config", config)
    (row,) = rows(cc_backend("token", "list", "--config", config).stdout)
    assert row[4] == "account disabled"
    refused = cc_backend("token", "create", "agents", "--config", config)
    assert (refused.returncode, "disabled" in refused.stderr) == (1, True)


def test_clusters_are_listed_removed_and_added_again(config: Path, cluster_file: Path) -> None:
    cc_backend("cluster", "add", cluster_file, "--config", config)
    assert [row[0] for row in rows(cc_backend("cluster", "list", "--config", config).stdout)] == ["tern"]
    wrong = cc_backend("cluster", "del", "ternn", "--config", config)
    assert (wrong.returncode, "did you mean 'tern'?" in wrong.stderr) == (1, True)
    (config.parent / "var/job-archive/tern/1234").mkdir()
    assert cc_backend("cluster", "del", "tern", "--config", config).returncode == 0
    assert rows(cc_backend("cluster", "list", "--config", config).stdout) == []
    assert (config.parent / "var/job-archive/tern/1234").is_dir()
    assert cc_backend("cluster", "add", cluster_file, "--config", config).returncode == 0


def test_a_cluster_with_running_jobs_is_removed_only_by_force(
    config: Path, cluster_file: Path, tern: dict[str, Any]
) -> None:
    cc_backend("cluster", "add", cluster_file, "--config", config)
    database = open_database(config.parent / "var/job.db")
    job = Job(1, "tern", "ada", "p", 1_760_000_000, (Resource("tn01"),), 1, sub_cluster="std")
    insert_job(database, job)
    database.close_all()
    listed = cc_backend("cluster", "list", "--config", config).stdout
    assert listed.splitlines()[0].split("\t")[2:] == ["HOSTS", "REPORTED", "METRICS", "JOBS", "RUNNING"]
    assert rows(listed)[0][2:] == ["2", "0", "7", "1", "1"]
    refused = cc_backend("cluster", "del", "tern", "--config", config)
    assert (refused.returncode, "there are 1 jobs of 'tern', of which 1 run" in refused.stderr) == (1, True)
    assert "--force" in refused.stderr
    forced = cc_backend("cluster", "del", "tern", "--force", "--config", config)
    assert (forced.returncode, "1 jobs of it stay" in forced.stderr) == (0, True)


def test_jobs_that_the_archiver_gave_up_are_tried_again(config: Path) -> None:
    database = open_database(config.parent / "var/job.db")
    archive_queue = ArchiveQueue(database)
    job = Job(1, "tern", "ada", "p", 1_760_000_000, (Resource("tn01"),), 1, state=JobState.COMPLETED)
    archive_queue.mark_failed(insert_job(database, job), "disk full")
    assert archive_queue.count(RowRule(all_jobs=True)) == 0
    done = cc_backend("archive", "retry", "--config", config)
    assert done.stdout == "1 job waits to be archived again\n"
    assert archive_queue.count(RowRule(all_jobs=True)) == 1
    database.close_all()


def test_serve_listens_where_the_command_line_says(config: Path) -> None:
    done = cc_backend("serve", "--addr", "nowhere", "--config", config)
    assert (done.returncode, "'nowhere'" in done.stderr) == (2, True)


def test_a_revoked_token_says_so_in_the_list(config: Path) -> None:
    cc_backend("token", "create", "agents", "--config", config, "--scope", "write")
    token_id = rows(cc_backend("token", "list", "--config", config).stdout)[0][0]
    assert cc_backend("token", "revoke", token_id, "--config", config).returncode == 0
    assert "revoked" in cc_backend("token", "list", "--config", config).stdout


def test_accounts_come_and_go(config: Path) -> None:
    added = cc_backend("user", "add", "ada", "--config", config, "--role", "support", given="a good password\n")
    assert added.returncode == 0, added.stderr
    assert rows(cc_backend("user", "list", "--config", config).stdout) == [["ada", "support", "-", "local", "active"]]
    assert cc_backend("user", "del", "ada", "--config", config).returncode == 0
    assert rows(cc_backend("user", "list", "--config", config).stdout) == []


@pytest.mark.parametrize("subject", ["user", "session", "token", "cluster"])
def test_every_list_has_a_header(config: Path, subject: str) -> None:
    header, *rest = cc_backend(subject, "list", "--config", config).stdout.splitlines()
    assert header.isupper()
    assert rest == []


@pytest.mark.parametrize("arguments", [("-h",), ("user", "-h"), ("user", "add", "-h"), ("metric-store", "-h")])
def test_every_level_of_the_command_line_has_a_short_help(arguments: tuple[str, ...]) -> None:
    done = cc_backend(*arguments)
    assert done.returncode == 0
    assert done.stdout == cc_backend(*arguments[:-1], "--help").stdout
    assert "Usage: cc-backend" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("user", "lst"), "No such command 'lst'. Did you mean 'list'? (see cc-backend user --help)"),
        (("user", "add"), "Missing argument 'name' (see cc-backend user add --help)"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_what_was_probably_meant(arguments: tuple[str, ...], text: str) -> None:
    done = cc_backend(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.lower() == f"cc-backend: {text}\n".lower()


def test_a_cluster_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = cc_backend("cluster", "check", tmp_path / "no.json")
    assert done.returncode == 1
    assert done.stderr == f"cc-backend: {tmp_path}/no.json: cannot be read: No such file or directory\n"


def test_the_version_is_an_option_too() -> None:
    assert cc_backend("--version").stdout == cc_backend("version").stdout != ""


def test_a_generated_password_is_printed_alone(config: Path) -> None:
    done = cc_backend("user", "add", "ada", "--config", config, "--generate")
    assert len(done.stdout.split()) == 1


@pytest.mark.parametrize(
    ("arguments", "given", "hint"),
    [
        (["user", "add", "ada"], "short\n", "password"),
        (["user", "add", "ada", "--role", "king"], "a good password\n", "king"),
        (["user", "add", "a/b"], "a good password\n", "a/b"),
        (["user", "del", "nobody"], "", "nobody"),
        (["token", "create", "x", "--scope", "everything"], "", "everything"),
        (["token", "create", "x", "--max-age", "soon"], "", "soon"),
        (["token", "revoke", "nothing"], "", "nothing"),
    ],
)
def test_what_cannot_be_done_is_one_plain_line(config: Path, arguments: list[str], given: str, hint: str) -> None:
    done = cc_backend(*arguments, "--config", config, given=given)
    assert done.returncode != 0
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_is_added_once_and_replaced_on_demand(config: Path, cluster_file: Path) -> None:
    assert cc_backend("cluster", "add", cluster_file, "--config", config).returncode == 0
    assert (config.parent / "var/job-archive/tern/cluster.json").exists()
    again = cc_backend("cluster", "add", cluster_file, "--config", config)
    assert again.returncode == 1
    assert "--replace" in again.stderr
    assert cc_backend("cluster", "add", cluster_file, "--replace", "--config", config).returncode == 0


def test_jobs_that_depend_on_what_leaves_a_cluster_are_told(
    config: Path, cluster_file: Path, tern: dict[str, Any]
) -> None:
    cc_backend("cluster", "add", cluster_file, "--config", config)
    database = open_database(config.parent / "var/job.db")
    job = Job(1, "tern", "ada", "demo", 1_760_000_000, (Resource("tn01"),), 1, sub_cluster="std")
    insert_job(database, job)
    database.close_all()
    cluster_file.write_text(json.dumps({**tern, "subClusters": [{**tern["subClusters"][0], "name": "new"}]}), "utf-8")
    words = "subcluster 'std' of 'tern' leaves; jobs there: 1 running, 0 not archived yet, 0 archived"
    assert words in cc_backend("cluster", "check", cluster_file, "--config", config).stderr
    assert words in cc_backend("cluster", "add", cluster_file, "--replace", "--config", config).stderr
    assert cc_backend("cluster", "check", cluster_file).stderr == ""


def test_a_cluster_that_mends_a_broken_one_is_taken(config: Path, cluster_file: Path) -> None:
    cc_backend("cluster", "add", cluster_file, "--config", config)
    (config.parent / "var/job-archive/tern/cluster.json").write_text("{", "utf-8")
    assert cc_backend("cluster", "add", cluster_file, "--replace", "--config", config).returncode == 0


def test_what_is_odd_in_a_cluster_is_a_warning(cluster_file: Path, tern: dict[str, Any]) -> None:
    cluster_file.write_text(json.dumps({**tern, "colour": "red"}), "utf-8")
    done = cc_backend("cluster", "check", cluster_file)
    assert done.returncode == 0
    assert done.stderr == f"{cluster_file}: warning: colour: is an unknown key and ignored\n"


def test_a_broken_cluster_is_refused_with_the_place(config: Path, cluster_file: Path, tern: dict[str, Any]) -> None:
    tern["metricConfig"][0]["timestep"] = 0
    cluster_file.write_text(json.dumps(tern), "utf-8")
    for arguments in (["cluster", "check", cluster_file], ["cluster", "add", cluster_file, "--config", config]):
        done = cc_backend(*arguments)
        assert done.returncode == 1
        assert "metricConfig[0].timestep" in done.stderr
    assert not (config.parent / "var/job-archive/tern").exists()


@pytest.mark.parametrize("name", ["../evil", "", ".hidden", "a/b", "x" * 300])
def test_the_name_of_a_cluster_never_leaves_the_archive(
    config: Path, cluster_file: Path, tern: dict[str, Any], name: str
) -> None:
    cluster_file.write_text(json.dumps({**tern, "name": name}), "utf-8")
    before = sorted(config.parent.parent.rglob("*"))
    done = cc_backend("cluster", "add", cluster_file, "--config", config)
    assert done.returncode == 1
    assert sorted(config.parent.parent.rglob("*")) == before


def test_show_config_says_where_each_value_came_from(config: Path) -> None:
    done = cc_backend("show-config", "--config", config)
    assert done.returncode == 0
    assert f'main.addr = "localhost:8080"   ({config})' in done.stdout
    assert "main.threads" in done.stdout
    assert "(default)" in done.stdout
    private = (config.parent / "secrets/jwt-private-key").read_text("utf-8").strip()
    assert private not in done.stdout


@pytest.mark.parametrize(
    ("text", "hint"),
    [("{", "config.json:1"), ("[]", "object"), ('{"mian": {}}', "'main'"), ('{"main": {"addr": 5}}', "main.addr")],
)
def test_a_broken_configuration_ends_every_command_with_status_2(config: Path, text: str, hint: str) -> None:
    config.write_text(text, "utf-8")
    for arguments in (["serve"], ["show-config"], ["user", "list"]):
        done = cc_backend(*arguments, "--config", config)
        assert done.returncode == 2, done.stderr
        assert hint in done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    done = cc_backend("serve", "--config", tmp_path / "nowhere.json")
    assert done.returncode == 2
    assert "nowhere.json" in done.stderr


def test_serve_refuses_a_folder_that_is_no_archive(config: Path) -> None:
    (config.parent / "var/job-archive/version.txt").write_text("2\n", "utf-8")
    done = cc_backend("serve", "--config", config)
    assert done.returncode == 1
    assert "version" in done.stderr
    assert "Traceback" not in done.stderr


def figures(text: str) -> dict[str, str]:
    return {line[:17].strip(): line[17:].strip() for line in text.splitlines()}


def test_capacity_is_forecast_for_the_configured_clusters(config: Path, cluster_file: Path) -> None:
    assert figures(cc_backend("capacity", "--config", config).stdout)["series"] == "0"
    assert cc_backend("cluster", "add", "--config", config, cluster_file).returncode == 0
    shown = figures(cc_backend("capacity", "--config", config).stdout)
    assert int(shown["series"]) > 0
    assert shown["memory at most"].endswith("B")


def test_capacity_is_forecast_for_nodes_that_are_only_planned(config: Path) -> None:
    document = json.loads(config.read_text())
    document.setdefault("metric-store", {})["memory-cap"] = 1
    config.write_text(json.dumps(document))
    done = cc_backend("capacity", "--config", config, "--nodes", 1000, "--series", 776)
    shown = figures(done.stdout)
    assert (shown["series"], shown["samples a second"]) == ("776000", "12933")
    assert shown["samples kept"] == str(776_000 * 2880)
    assert "memory-cap is 1 GB" in done.stderr
    alone = cc_backend("capacity", "--config", config, "--series", 776)
    assert alone.returncode == 1
    assert "--nodes" in alone.stderr


@pytest.mark.parametrize("what", ["the database", "the job archive", "the folder of the write-ahead log"])
def test_a_second_server_on_the_same_data_is_refused_in_one_line_that_names_them(
    config: Path, tmp_path: Path, what: str
) -> None:
    place = {
        "the database": config.parent / "var/job.db.lock",
        "the job archive": config.parent / "var/job-archive/.lock",
        "the folder of the write-ahead log": config.parent / "var/metric-store/lock",
    }[what]
    lock = LockFile(place, what)
    done = cc_backend("serve", "--config", config)
    lock.close()
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert what in line
    assert str(place.parent) in line
    assert f"pid {os.getpid()}" in line


def test_changes_to_another_database_are_not_written_into_the_one_that_took_its_place(config: Path) -> None:
    """As when a server is killed, and a backup is put in the place of its database."""
    used, log = config.parent / "var/job.db", config.parent / "var/job.db-wal"
    lock = LockFile(config.parent / "var/job.db.lock", "the database")
    record_database_file(lock, used)
    lock.close()
    other = used.with_name("backup.db")
    shutil.copy(used, other)
    other.replace(used)
    assert cc_backend("user", "list", "--config", config).returncode == 0, "nothing lies beside it"
    log.write_bytes(b"changes to the one before")
    for words in (("serve",), ("user", "list")):
        done = cc_backend(*words, "--config", config)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert f"{used} is not the file that the last server used, and {log} holds changes to that one" in line
    assert log.read_bytes() == b"changes to the one before"


def test_a_database_that_is_gone_is_told_before_an_empty_one_is_made(config: Path) -> None:
    settings = load_settings(config, environment={}).value
    assert missing_database_warning(settings) == ""
    database = config.parent / "var/job.db"
    database.unlink()
    assert missing_database_warning(settings) == "", "nothing ever ran here"
    for trace in (config.parent / "var/job.db.lock", config.parent / "var/metric-store/runs"):
        trace.write_text("")
        assert f"THE DATABASE {database} IS GONE" in missing_database_warning(settings)
        trace.unlink()


def test_the_sample_key_of_the_reference_is_not_served_to_others(config: Path) -> None:
    document = json.loads(config.read_text("utf-8"))
    document["main"]["addr"] = "0.0.0.0:0"
    document["auth"] = {"jwts": {"public-key": SAMPLE_PUBLIC_KEY}}
    config.write_text(json.dumps(document), "utf-8")
    (config.parent / "config.json").chmod(0o600)
    done = cc_backend("serve", "--config", config, "--addr", "0.0.0.0:1")
    assert done.returncode == 2
    assert "private key everybody has" in done.stderr
    assert "Traceback" not in done.stderr
