import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import List

import pytest

from cc_common import __version__
from cc_slurm_adapter.__main__ import main
from cc_slurm_adapter.journal import PARKED, JobRun, Journal
from cc_slurm_adapter.service import JOURNAL
from cc_slurm_adapter.slurm_model import RunKey


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"cc-slurm-adapter {__version__}\n"


def test_settings_are_shown_with_origin_and_without_secrets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC_SLURM_ADAPTER_TOKEN", "hidden")
    assert main(["show-config", "--url", "http://h", "--state-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "hidden" not in shown
    assert "backend.url = http://h" in shown.replace('"', "")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["run", "--url", "http://h"], 2, "state-directory"),
        (["once", "--state-dir", "/x/y/z"], 2, "backend.url"),
        (["once", "--no-such"], 2, "--no-such"),
        (["run", "--config", "/does/not/exist"], 2, "/does/not/exist"),
        (["no-such-command"], 2, "no-such-command"),
        (["check", "--no-such"], 2, "--no-such"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: List[str], status: int, said: str
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert main(words) == status
    complaint = capsys.readouterr().err
    assert complaint.startswith("cc-slurm-adapter: ")
    assert said in complaint
    assert complaint.count("\n") == 1


def test_the_check_says_what_fails_and_has_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "adapter.json"
    path.write_text('{"slurm": {"command-directory": "nowhere"}, "topology-file": "none.json"}')
    assert main(["check", "--config", str(path), "--url", "http://127.0.0.1:1", "--state-dir", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "FAILS  queue: squeue --all --states=all --json: cannot be started" in "\n".join(lines)
    assert any(line.startswith("FAILS  topology") for line in lines)
    assert any(line.startswith("works  journal") for line in lines)


def test_retry_queues_parked_events_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with closing(Journal(tmp_path / JOURNAL)) as journal:
        journal.record_start(JobRun(RunKey("alpha", 7, 900)), {}, now_s=1)
        journal.set_event_state(next(journal.waiting()).number, PARKED, "there is no cluster alpha")
        assert main(["retry", "--state-dir", str(tmp_path)]) == 0
        assert capsys.readouterr().out == "1 events wait again\n"
        assert journal.counts().waiting == 1


def test_without_a_journal_there_is_nothing_to_retry(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["retry", "--state-dir", str(tmp_path)]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_the_service_loads_no_command_line_library_and_no_client_before_it_sends() -> None:
    code = (
        "import sys, cc_slurm_adapter.__main__, cc_slurm_adapter.service, cc_slurm_adapter.options;"
        "print([name for name in ('typer', 'httpx', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
