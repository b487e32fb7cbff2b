"""The processes of the demo: started so that a Ctrl-C at the terminal does not reach them, and always ended."""

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 30
END_TIMEOUT_S = 20
PORTS_TRIED = 50
_PR_SET_PDEATHSIG = 1


@contextmanager
def run_child(arguments: Sequence[str], output: object = subprocess.DEVNULL) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is ended with SIGTERM, and with SIGKILL if that does not help; it never outlives the demo."""
    running: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]  # a file or DEVNULL
        arguments,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call, which takes no lock
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _end_with_parent() -> Callable[[], object]:
    """What a new process does first: ask the kernel for SIGTERM when the thread that started it ends."""
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@contextmanager
def run_in_background(log: Path, name: str, *arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A command of the project in the background, with its output in a file."""
    with log.open("ab") as output, run_child([str(BIN / name), *map(str, arguments)], output) as running:
        yield running


def run_command(name: str, *arguments: object) -> str:
    """The output of a command of the project; exits with its error message if it fails."""
    done = subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip() or f"{name} failed with status {done.returncode}")
    return done.stdout


def wait_until_up(url: str, backend: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the backend answers; end with its last log lines if it does not."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and backend.poll() is None:
        try:
            if httpx.get(f"{url}/healthz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit(f"The backend did not come up:\n{last_lines(log)}")


def last_lines(log: Path, count: int = 10) -> str:
    """The end of a log."""
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-count:])


def find_free_port(wanted: int) -> int:
    """The wanted port, or the next free one."""
    for port in range(wanted, wanted + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"Ports {wanted} to {wanted + PORTS_TRIED - 1} are all taken; choose one with --port.")
