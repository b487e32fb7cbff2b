import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cc_common import __version__
from cc_common.line_protocol import decode

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _environment(repository: Path, more: "dict[str, str]") -> "dict[str, str]":
    path = os.pathsep.join(str(repository / part) for part in ("common", "agent"))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, **more}


@pytest.fixture
def run(repository: Path, tmp_path: Path) -> Run:
    """Runs cc-agent as a process of its own in an empty folder."""

    def run_process(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "cc_agent", *words],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=_environment(repository, environment),
            check=False,
        )

    return run_process


def test_once_prints_lines_that_a_store_can_read(run: Run) -> None:
    result = run("once", "--cluster", "demo", "--hostname", "n01")
    assert result.returncode == 0
    points, errors = decode(result.stdout.encode(), received_s=0)
    assert not errors
    assert {point.tags["cluster"] for point in points} == {"demo"}
    assert len({point.time_s for point in points}) == 1
    assert {"cpu_load", "cpu_user", "mem_used"} <= {point.metric for point in points}
    shares = [point.value for point in points if point.metric in ("cpu_user", "cpu_idle", "cpu_iowait")]
    assert all(0 <= share <= 100 for share in shares)


def test_once_prints_exactly_what_topology_declares(run: Run) -> None:
    points, _ = decode(run("once").stdout.encode(), received_s=0)
    document = json.loads(run("topology").stdout)
    assert {point.metric for point in points} == {entry["name"] for entry in document["metricConfig"]}
    assert {point.tags["cluster"] for point in points} == {document["name"]}
    assert {point.tags["hostname"] for point in points} == {document["subClusters"][0]["nodes"]}
    threads = {int(point.tags["type-id"]) for point in points if point.tags["type"] == "hwthread"}
    assert threads == set(document["subClusters"][0]["topology"]["node"])


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (("run",), 2, "no sink to send to; give --url or a sink"),
        (("run", "--bogus"), 2, "unrecognized arguments: --bogus"),
        (("once", "--config", "none.json"), 2, "none.json: cannot be read: No such file or directory"),
        (("once", "--config", "bad.json"), 2, "bad.json:1:2: is not JSON"),
        (("run", "--config", "unknown.json"), 2, "mian: there is no such setting; did you mean 'main'?"),
        (("once", "--interval", "soon"), 2, "main.interval"),
        (("once", "--url", "nonsense"), 1, "address must begin with http:// or https://"),
        (("once", "--url", "http://127.0.0.1:9"), 1, "not sent to http://127.0.0.1:9/api/write: no response"),
        (("run", "--url", "http://127.0.0.1:9", "--spool-dir", "bad.json/x"), 1, "spool folder bad.json/x"),
        (("doctor", "--bogus"), 2, "unrecognized arguments: --bogus"),
        (("bogus",), 2, "there is no command 'bogus'"),
        (("show-config", "--config", "bad.json"), 2, "is not JSON"),
        (("topology", "--interval", "0"), 2, "main.interval"),
    ],
)
def test_what_goes_wrong_is_one_line_and_never_a_traceback(
    run: Run, tmp_path: Path, words: "tuple[str, ...]", status: int, part: str
) -> None:
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    (tmp_path / "unknown.json").write_text('{"mian": {}}', encoding="utf-8")
    result = run(*words)
    said = [line for line in result.stderr.splitlines() if line.startswith("cc-agent: ")]
    complaints = [line for line in said if " is not available: " not in line]  # a collector this machine has no use for
    assert result.returncode == status
    assert len(complaints) == 1
    assert part in complaints[0]
    assert "Traceback" not in result.stderr


def test_help_lists_all_commands(run: Run) -> None:
    for words in ((), ("--help",)):
        result = run(*words)
        assert result.returncode == 0
        for command in ("run", "once", "doctor", "topology", "show-config", "version"):
            assert command in result.stdout
    assert "--spool-dir" in run("run", "--help").stdout


def test_version_is_that_of_the_package(run: Run) -> None:
    assert run("version").stdout == f"cc-agent {__version__}\n"


def test_show_config_hides_secrets_and_names_origins(run: Run, tmp_path: Path) -> None:
    sinks = {"s": {"type": "http", "url": "http://x", "jwt": "geheim"}}
    (tmp_path / "c.json").write_text(json.dumps({"main": {"interval": "5s"}, "sinks": sinks}), encoding="utf-8")
    result = run("show-config", "--config", "c.json", "--cluster", "demo")
    assert result.returncode == 0
    assert "geheim" not in result.stdout
    assert "main.interval = 5s   (c.json)" in result.stdout
    assert 'main.cluster = "demo"   (command line)' in result.stdout


def test_doctor_says_what_works_and_what_to_do(run: Run) -> None:
    result = run("doctor", "--url", "http://127.0.0.1:9")
    assert result.returncode == 1
    assert "cpustat" in result.stdout
    assert "cannot be reached" in result.stdout
    assert "do: " in result.stdout
    assert "Traceback" not in result.stderr


def test_topology_without_options_is_named_after_this_machine(run: Run) -> None:
    result = run("topology", "--hostname", "n07")
    document = json.loads(result.stdout)
    assert document["name"] == "n07"
    assert document["subClusters"][0]["nodes"] == "n07"
    assert "estimate" in result.stderr


def test_run_loads_neither_the_command_line_library_nor_numpy(repository: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "import cc_agent.__main__ as main\n"
        "import cc_agent.agent as agent\n"
        "agent.Agent.run = lambda self: agent.start_pipeline(agent.load_configuration(self._options, {})).close(0.1)\n"
        "status = main.main(['run', '--url', 'http://127.0.0.1:9'])\n"
        "heavy = {'typer', 'click', 'rich', 'numpy', 'flask', 'peewee', 'cpuinfo', 'asyncio', 'requests'}\n"
        "print(status, sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=_environment(repository, {}),
        check=True,
    )
    assert result.stdout == "0 []\n"


def test_run_stops_at_once_on_sigterm_and_keeps_its_samples(repository: Path, tmp_path: Path) -> None:
    words = ["run", "--url", "http://127.0.0.1:9", "--interval", "1s", "--spool-dir", "spool", "--cluster", "demo"]
    with subprocess.Popen(
        [sys.executable, "-m", "cc_agent", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=_environment(repository, {}),
    ) as process:
        try:
            _until(lambda: any((tmp_path / "spool").glob("url/*.batch")))
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "stopped" in errors
    batch = next((tmp_path / "spool").glob("url/*.batch")).read_bytes()
    assert b"cpu_load,cluster=demo," in batch


def _until(holds: "Callable[[], bool]") -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
