"""What several benchmarks need: where they ran, how much memory they take, and servers on free ports."""

import gc
import http.client
import os
import platform
import socket
import time
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """One line about where this ran."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    versions = f"Linux {platform.release()}, Python {platform.python_version()}, NumPy {version('numpy')}"
    return f"{model}, {os.cpu_count()} cores, {versions}"


def resident_bytes() -> int:
    """What this process takes of the memory now, garbage collected."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(port: int) -> None:
    """Return when the server answers."""
    for _ in range(300):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no server came up on port {port}")


def session_cookie(answer: http.client.HTTPResponse) -> str:
    """The login that an answer gives, as a browser sends it back; ends the program if there is none."""
    for cookie in answer.headers.get_all("Set-Cookie") or ():
        if cookie.startswith("session="):
            return str(cookie.partition(";")[0])
    raise SystemExit(f"the login failed: {answer.status}")
