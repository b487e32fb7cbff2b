from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Callable, List, Optional

import pytest

from cc_common import __version__
from cc_common.command import Command, Program, command_option
from cc_common.errors import CockpitError, SettingsError


@dataclass(frozen=True)
class Options:
    config: Optional[str] = command_option("a file", "FILE")
    spool_dir: Optional[str] = command_option("a folder", "FOLDER")
    level: str = command_option("how much", "LEVEL", choices=("low", "high"), default="low")


def program(run: Callable[[Options], int]) -> Program[Options]:
    return Program(
        name="cc-sample",
        help="Do something.",
        extra="sample",
        options=Options,
        commands=(Command("run", "Run it.", run), Command("show", "Show it.", run, ("config",))),
    )


def test_a_command_gets_its_options_and_its_status_is_that_of_the_program() -> None:
    seen: List[Options] = []

    def run(options: Options) -> int:
        seen.append(options)
        return 3

    assert program(run).main(["run", "--spool-dir", "s", "--level", "high"]) == 3
    assert program(run).main(["show", "--config", "c"]) == 3
    assert seen == [Options(spool_dir="s", level="high"), Options(config="c")]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_all_commands(capsys: pytest.CaptureFixture[str], words: List[str]) -> None:
    assert program(lambda _: 0).main(words) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("run", "Run it.", "show", "Show it.", "version"))


def test_help_of_a_command_lists_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert program(lambda _: 0).main(["show", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--config FILE" in printed
    assert "--spool-dir" not in printed


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert program(lambda _: 1).main([word]) == 0
    assert capsys.readouterr().out == f"cc-sample {__version__}\n"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["bogus"], "there is no command 'bogus'"),
        (["rnu"], "there is no command 'rnu'; did you mean 'run'?"),
        (["--bogus"], "there is no option '--bogus'"),
        (["--vresion"], "there is no option '--vresion'; did you mean '--version'?"),
        ([""], "there is no command ''"),
        (["run", "--bogus"], "unrecognized arguments: --bogus"),
        (["run", "extra"], "unrecognized arguments: extra"),
        (["show", "--spool-dir", "s"], "unrecognized arguments: --spool-dir s"),
        (["run", "--conf", "c"], "unrecognized arguments: --conf c; did you mean '--config'?"),
        (["run", "--level", "loud"], "--level"),
        (["run", "--config"], "expected one argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], words: List[str], part: str
) -> None:
    assert program(lambda _: 0).main(words) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("cc-sample: command line: ")
    assert complaint.endswith(f"(see cc-sample{f' {words[0]}' if words[0] in ('run', 'show') else ''} --help)\n")
    assert part in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SettingsError("a", "a: must be\n a number"), 2, "cc-sample: a: must be a number\n"),
        (CockpitError("cannot do it"), 1, "cc-sample: cannot do it\n"),
        (
            ModuleNotFoundError("x", name="httpx"),
            1,
            "cc-sample: needs the Python package 'httpx'; install clustercockpit[sample]\n",
        ),
        (OSError(errno.ENOSPC, "No space left"), 1, "cc-sample: standard output: No space left\n"),
        (KeyboardInterrupt(), 1, "cc-sample: interrupted\n"),
        (BrokenPipeError(), 1, ""),
        (ValueError("x"), 1, "cc-sample: internal error, set CC_SAMPLE_DEBUG=1 to see where: ValueError: x\n"),
    ],
)
def test_an_error_is_one_line_with_its_status(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    said: str,
) -> None:
    monkeypatch.delenv("CC_SAMPLE_DEBUG", raising=False)

    def run(_: Options) -> int:
        raise error

    assert program(run).main(["run"]) == status
    assert capsys.readouterr().err == said


def test_the_debug_variable_raises_unexpected_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC_SAMPLE_DEBUG", "1")

    def run(_: Options) -> int:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        program(run).main(["run"])


def test_warnings_are_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    program(lambda _: 0).print_warnings(["old key", "older key"])
    assert capsys.readouterr().err == "cc-sample: warning: old key\ncc-sample: warning: older key\n"
