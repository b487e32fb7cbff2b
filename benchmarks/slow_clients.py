"""2000 hostile connections beside pages, health check and ingest: how long do the well-behaved wait, what does it cost?

Run: python benchmarks/slow_clients.py [CLIENTS] [SECONDS]

The hostile ones sit in a process of their own and come back whenever they are thrown out. There are two crowds. The
slow ones by turns say nothing, drip a head, send a head without end, stall or drip a body (to the login form, to the
write route without and with a good token, with a length and in chunks), go half away, reset, and ask without ever
reading the answer. Of the flood a quarter asks for pages and large files, fifty times ahead without ever reading or as
fast as they are answered. Two threads look at pages, one at the health check, one sends batches of 1000 lines,
each ten times a second. Rounds without and with each crowd take turns, since the machine may have other work; how much
it had is told. Promise: beside the slow ones the 99th percentile is at most three times that without (below 10 ms
nothing is judged), and the server grows by at most 64 MB beside either. Exit status 1 if it is broken.
"""

import asyncio
import contextlib
import http.client
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

from _bench import BIN, cli, machine, make_site, serving, session_cookie
from http_write import batch, cluster

CLIENTS, SECONDS, ROUNDS = 2000, 15.0, 4
RATIO, GROWTH_MB, TOO_SHORT_S = 3.0, 64.0, 0.010
EVERY_S = 0.1
PERSON, PASSWORD = "ada", "a password for the benchmark"
HOST = b"Host: x\r\n"
WITHOUT, SLOW, FLOOD = "without", "slow", "flood"


def main() -> int:
    """Print a table, judge; with `hostile` as first argument be the hostile ones."""
    if sys.argv[1:2] == ["hostile"]:
        asyncio.run(be_hostile(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
        return 0
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), clients, seconds)


def measure(folder: Path, clients: int, seconds: float) -> int:
    """Rounds without and with."""
    config = make_site(folder, cluster())
    token = cli("token", "create", "agents", "--config", config, "--scope", "write").split()[-1]
    cli("user", "add", PERSON, "--config", config, given=PASSWORD + "\n")
    with serving([BIN / "cc-backend", "serve", "--config", config], log_level="error") as (port, pid):
        good = WellBehaved(port, token)
        good.round(min(seconds, 5.0))  # what is loaded at first use is there
        times: dict[str, dict[str, list[float]]] = {WITHOUT: {}, SLOW: {}, FLOOD: {}}
        memory = dict.fromkeys(times, 0.0)
        began = busy_s(), own_s(pid), time.monotonic()
        for number in range(ROUNDS * len(times)):
            crowd = list(times)[number % len(times)]
            with hostile(crowd, clients, port, token) if crowd != WITHOUT else contextlib.nullcontext():
                collect(times[crowd], good.round(seconds))
                memory[crowd] = max(memory[crowd], resident_mb(pid))
        other_s = busy_s() - began[0] - (own_s(pid) - began[1])
        print(f"other work took {other_s / (time.monotonic() - began[2]):.0%} of one processor")
        return judge(clients, times, memory)


def judge(clients: int, times: dict[str, dict[str, list[float]]], memory: dict[str, float]) -> int:
    """The table, and whether the promise is kept."""
    print(
        f"| beside {clients:5}        | milliseconds           | median | 99 % | ratio of 99 % | failed | memory, MB |"
    )
    print("|---------------------|------------------------|-------:|-----:|--------------:|-------:|-----------:|")
    kept = True
    for crowd, found in times.items():
        for name, taken in found.items():
            (middle_s, most_s), (_, before_s) = quantiles(taken), quantiles(times[WITHOUT][name])
            failed = sum(one == float("inf") for one in taken)
            kept &= not failed and (crowd == FLOOD or most_s <= max(RATIO * before_s, TOO_SHORT_S))
            print(
                f"| {crowd:19} | {name:22} | {middle_s * 1e3:6.1f} | {most_s * 1e3:4.0f} | {most_s / before_s:13.1f} "
                f"| {failed:6} | {memory[crowd]:10.0f} |"
            )
    kept &= max(memory.values()) - memory[WITHOUT] <= GROWTH_MB
    print(f"promise, {RATIO:g} times and {GROWTH_MB:g} MB: {'kept' if kept else 'BROKEN'}")
    return int(not kept)


class WellBehaved:
    """Those who only want their pages and leave their samples."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._write = {"Authorization": f"Bearer {token}"}
        connection = http.client.HTTPConnection("127.0.0.1", port)
        form = urlencode({"username": PERSON, "password": PASSWORD})
        connection.request("POST", "/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
        self._person = {"Cookie": session_cookie(connection.getresponse())}
        connection.close()
        start_s = int(time.time()) // 60 * 60 - 3600
        self._batch = batch("n001", 1000, 360, start_s)

    def round(self, seconds: float) -> dict[str, list[float]]:
        """Seconds that each request took, by what was asked; infinite if it failed."""
        found: dict[str, list[float]] = {name: [] for name in ("page, kept connection", "page, new connection")}
        found |= {"health check": [], "batch of 1000 lines": []}
        end_s = time.monotonic() + seconds
        asking = [
            threading.Thread(target=self._ask, args=(found["page, kept connection"], end_s, True, self._page)),
            threading.Thread(target=self._ask, args=(found["page, new connection"], end_s, False, self._page)),
            threading.Thread(target=self._ask, args=(found["health check"], end_s, False, self._health)),
            threading.Thread(target=self._ask, args=(found["batch of 1000 lines"], end_s, True, self._send)),
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        return found

    def _ask(
        self,
        times: list[float],
        end_s: float,
        keep: bool,  # noqa: FBT001
        ask: Callable[[http.client.HTTPConnection], None],
    ) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while (start_s := time.monotonic()) < end_s:
            try:
                ask(connection)
                answer = connection.getresponse()
                answer.read()
                times.append(time.monotonic() - start_s if answer.status == http.client.OK else float("inf"))
            except (OSError, http.client.HTTPException):
                times.append(float("inf"))
                connection.close()
            if not keep:
                connection.close()
            time.sleep(max(start_s + EVERY_S - time.monotonic(), 0.0))
        connection.close()

    def _page(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/monitoring/jobs/", headers=self._person)

    def _health(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/healthz")

    def _send(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/api/write/", self._batch, self._write)


@contextlib.contextmanager
def hostile(crowd: str, clients: int, port: int, token: str) -> Iterator[None]:
    """All of them are there inside the block."""
    command = [sys.executable, __file__, "hostile", crowd, str(clients), str(port), token]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


async def be_hostile(crowd: str, clients: int, port: int, token: str) -> None:
    """Connect, misbehave, come back; says so once all have been there."""
    os.nice(5)  # elsewhere they would not take the server's processor
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(clients + 200, hard), hard))
    known = f"X-Auth-Token: {token}\r\n".encode()
    kinds = misdeeds(known, flood=crowd == FLOOD)
    there = asyncio.Semaphore(0)
    running = [
        asyncio.create_task(misbehave(port, *kinds[number % len(kinds)], delay_s=number / clients * 2, there=there))
        for number in range(clients)
    ]
    for _ in range(clients):
        await there.acquire()
    print("there", flush=True)
    await asyncio.gather(*running)


def misdeeds(known: bytes, *, flood: bool) -> list[tuple[bytes, bytes, str]]:
    """What is sent at once, what is repeated every second, and how it ends."""
    form = b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
    write = b"POST /api/write/ HTTP/1.1\r\n" + HOST
    page = b"GET /login HTTP/1.1\r\n" + HOST + b"\r\n"
    file = b"GET /assets/0/vendor/uPlot.iife.min.js HTTP/1.1\r\n" + HOST + b"\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    slow = [
        (b"", b"", "stay"),
        (b"GET / HTTP/1.1\r\n", b"X", "stay"),
        (b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 1000 + b"\r\n", "stay"),
        (form + b"Content-Length: 8000\r\n\r\n" + b"u" * 4000, b"", "stay"),
        (form + b"Content-Length: 100\r\n\r\n", b"u", "stay"),
        (form + chunked, b"1\r\nu\r\n", "stay"),
        (write + b"Content-Length: 30000000\r\n\r\n", b"m", "stay"),
        (write + known + b"Content-Length: 30000\r\n\r\n", b"m", "stay"),
        (write + known + chunked, b"1\r\nm\r\n", "stay"),
        (form + b"Content-Length: 100\r\n\r\nu", b"", "half"),
        (write + known + b"Content-Length: 30000\r\n\r\nm", b"", "reset"),
        (page, b"", "deaf"),
    ]
    floods = [(page * 50, b"", "deaf"), (file * 50, b"", "deaf"), (page, b"", "greedy"), (file, b"", "greedy")]
    return [*slow, *floods] if flood else slow


async def misbehave(
    port: int, first: bytes, again: bytes, end: str, *, delay_s: float, there: asyncio.Semaphore
) -> None:
    """One hostile client, for good."""
    await asyncio.sleep(delay_s)
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        except OSError:
            await asyncio.sleep(1)
            continue
        there.release()
        with contextlib.suppress(OSError):
            writer.write(first)
            while end == "greedy" and await reader.read(64 * 1024):
                writer.write(first)
                await writer.drain()
            await asyncio.sleep(1)
            if end == "half":
                writer.write_eof()
            while end != "reset" and not (reader.at_eof() or writer.transport.is_closing()):
                if again:
                    writer.write(again)
                if end != "deaf":
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1024), 1)
                else:
                    await asyncio.sleep(1)
        writer.transport.abort()


def collect(into: dict[str, list[float]], found: dict[str, list[float]]) -> None:
    """Add the times of a round."""
    for name, times in found.items():
        into.setdefault(name, []).extend(times)


def quantiles(times: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def busy_s() -> float:
    """Seconds that all processors have worked since the machine was started."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # idle, and waiting for a disk


def own_s(server: int) -> float:
    """Seconds that the server, this program and the hostile ones that have ended have worked."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return sum(os.times()[:4]) + sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """What a process has in memory."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
