import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from perf_machine import write

from cc_agent.collectors.perf.access import open_error, paranoid_level
from cc_agent.errors import NotPresentError


def error(number: int) -> OSError:
    return OSError(number, "x")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_missing_right_is_named_with_the_level_of_this_machine(tmp_path: Path, number: int) -> None:
    write(tmp_path / "proc/sys/kernel/perf_event_paranoid", "2\n")
    write(tmp_path / "proc/self/status", "Name:\tcc-agent\nCapEff:\t0000000000000000\n")
    found = open_error(error(number), tmp_path, "6.1.0-13-amd64")
    assert str(found) == "needs CAP_PERFMON or kernel.perf_event_paranoid <= 0, which is 2 here"
    assert "AmbientCapabilities=CAP_PERFMON" in found.advice
    assert not isinstance(found, NotPresentError)


def test_old_kernels_have_no_such_capability(tmp_path: Path) -> None:
    write(tmp_path / "proc/sys/kernel/perf_event_paranoid", "4\n")
    found = open_error(error(errno.EACCES), tmp_path, "4.18.0-553.el8.x86_64")
    assert str(found) == "needs CAP_SYS_ADMIN or kernel.perf_event_paranoid <= 0, which is 4 here"


@pytest.mark.parametrize(
    ("level", "capabilities"),
    [("2", "0000004000000000"), ("0", "0000000000000000"), ("-1", "0")],  # bit 38
)
def test_who_has_the_right_is_pointed_to_the_filter_of_system_calls(
    tmp_path: Path, level: str, capabilities: str
) -> None:
    write(tmp_path / "proc/sys/kernel/perf_event_paranoid", f"{level}\n")
    write(tmp_path / "proc/self/status", f"Name:\tx\nCapEff:\t{capabilities}\n")
    found = open_error(error(errno.EPERM), tmp_path, "6.1.0")
    assert "SystemCallFilter" in found.advice


@pytest.mark.parametrize("text", ["", "high", "\x00"])
def test_an_unreadable_level_is_taken_for_the_default(tmp_path: Path, text: str) -> None:
    write(tmp_path / "proc/sys/kernel/perf_event_paranoid", text)
    assert "which is 2 here" in str(open_error(error(errno.EACCES), tmp_path, "not a release"))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.ENOSYS, errno.EINVAL])
def test_a_machine_without_counters_is_no_fault(tmp_path: Path, number: int) -> None:
    assert isinstance(open_error(error(number), tmp_path), NotPresentError)


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EMFILE, "LimitNOFILE"), (errno.EBUSY, "end it"), (errno.EIO, "kernel log")]
)
def test_other_failures_have_advice(tmp_path: Path, number: int, advice: str) -> None:
    found = open_error(error(number), tmp_path)
    assert advice in found.advice
    assert not isinstance(found, NotPresentError)


TRY_TO_COUNT = """
import encodings.ascii  # afterwards this user may not be able to read the interpreter
import os
from cc_agent.collectors.perf import EventCode, LinuxPerf, countable_groups, open_error
calls = LinuxPerf()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    countable_groups(calls, [EventCode(1, 1)], 0)
except OSError as error:
    print(open_error(error))
"""


def test_an_ordinary_user_is_told_what_this_machine_wants() -> None:
    if os.getuid() != 0 or paranoid_level() <= 0:
        pytest.skip("needs root, and a kernel that lets root only count")
    done = subprocess.run([sys.executable, "-c", TRY_TO_COUNT], capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    assert done.stdout.strip() in (
        f"needs CAP_PERFMON or kernel.perf_event_paranoid <= 0, which is {paranoid_level()} here",
        f"needs CAP_SYS_ADMIN or kernel.perf_event_paranoid <= 0, which is {paranoid_level()} here",
    )
