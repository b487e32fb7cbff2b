"""What the servers take of the memory when nothing happens, with an empty database.

Run: python benchmarks/at_rest.py [ROUNDS]

Each program is started as its unit starts it and asked thirty times, by a person with a login and a program with a
token, so that all it loads at first use is there; then it rests until its background work has run. The figure is the
proportional set size (PSS): pages that several processes share count in parts. What else runs Python on the machine
takes a part too, this benchmark among them; "alone" is what would be left if nothing else had these files open. Means
of several starts. Promise: at most 80 MB. Exit status 1 if it is broken.
"""

import http.client
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from _bench import BIN, cli, machine, serving, session_cookie

PROMISE_MB = 80.0
REST_S = 6.0
REQUESTS = 30
LOGINS = 8
PERSON, PASSWORD = "somebody", "a password for the benchmark"

PAGES = ("/login", "/", "/monitoring/jobs/")
ROUTES = ("/healthz", "/metrics", "/api/jobs/", "/api/jobs/used_nodes/?ts=0", "/api/clusters/", "/api/debug/")
AMOUNT = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)
STORE_ROUTES = ("/metrics", "/api/debug/", "/api/query")


@dataclass(frozen=True, slots=True)
class Taken:
    """Megabytes of one server."""

    proportional: float
    alone: float


def main() -> int:
    """Print a table, judge."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(machine())
    print("| MB                                        |   PSS | alone |")
    print("|-------------------------------------------|------:|------:|")
    kept = True
    for name, start, promised in (
        ("cc-backend serve", backend, True),
        ("cc-backend metric-store", metric_store, True),
        (f"cc-backend serve, after {LOGINS} logins at once", backend_after_logins, False),
    ):
        found = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(start(Path(folder)))
        proportional = sum(taken.proportional for taken in found) / rounds
        alone = sum(taken.alone for taken in found) / rounds
        kept &= proportional <= PROMISE_MB or not promised
        print(f"| {name:41} | {proportional:5.1f} | {alone:5.1f} |", flush=True)
    print(f"promise, both programs: {PROMISE_MB:g} MB: {'kept' if kept else 'BROKEN'}")
    return int(not kept)


def backend(folder: Path, *, logins: int = 1) -> Taken:
    """The backend after a login and requests of all kinds."""
    config = folder / "site" / "config.json"
    cli("init", folder / "site")
    cli("user", "add", PERSON, "--role", "admin", "--config", config, given=PASSWORD)
    rights = ("--role", "admin", "--role", "api", "--scope", "admin")
    token = cli("token", "create", "scripts", "--config", config, *rights).split()[-1]
    return measure(("serve", "--config", config), "CC_BACKEND_ADDR", lambda port: ask_backend(port, token, logins))


def backend_after_logins(folder: Path) -> Taken:
    """The backend after many logins at the same time, each of which takes 19 MiB while it runs."""
    return backend(folder, logins=LOGINS)


def metric_store(folder: Path) -> Taken:
    """The metric store's own program, without a key."""
    config = folder / "metric-store.json"
    document = {"metrics": {"flops_any": {"frequency": 60}}, "metric-store": {"wal": {"directory": "samples"}}}
    config.write_text(json.dumps(document), "utf-8")
    return measure(("metric-store", "--config", config), "CC_METRIC_STORE_ADDR", ask_store)


def measure(command: Sequence[object], address: str, ask: Callable[[int], None]) -> Taken:
    """Start, ask, wait, look, end."""
    with serving([BIN / "cc-backend", *command], address=address, log_level="error") as (port, pid):
        ask(port)
        time.sleep(REST_S)
        return Taken(proportional_mb(pid), alone_mb(pid))


def ask_backend(port: int, token: str, logins: int) -> None:
    """Sign in, then look at pages and ask by token."""
    cookies: list[str] = []
    people = [threading.Thread(target=lambda: cookies.append(sign_in(port))) for _ in range(logins)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    paths = (*PAGES, *ROUTES)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for number in range(REQUESTS - 1):
        path = paths[number % len(paths)]
        known = {"Cookie": cookies[0]} if path in PAGES else {"Authorization": f"Bearer {token}"}
        request(connection, "GET", path, "", known)
    connection.close()


def sign_in(port: int) -> str:
    """The cookie of a new login."""
    form = urlencode({"username": PERSON, "password": PASSWORD})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    answer = request(connection, "POST", "/login", form, headers)
    connection.close()
    return session_cookie(answer)


def ask_store(port: int) -> None:
    """Ask what it knows, and for samples of nobody."""
    query = json.dumps({"cluster": "none", "from": 0, "to": 600, "queries": [{"metric": "flops_any", "host": "n1"}]})
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for number in range(REQUESTS):
        path = STORE_ROUTES[number % len(STORE_ROUTES)]
        request(connection, "GET", path, query if path == "/api/query" else "", {})
    connection.close()


def request(
    connection: http.client.HTTPConnection, method: str, path: str, body: str, headers: dict[str, str]
) -> http.client.HTTPResponse:
    """The answer, read to its end; ends the program if it is none that was hoped for."""
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= http.client.BAD_REQUEST:
        raise SystemExit(f"{method} {path}: {answer.status} {content[:200]!r}")
    return answer


def proportional_mb(pid: int) -> float:
    """What a process takes of the memory, shared pages in part."""
    return megabytes(Path(f"/proc/{pid}/smaps_rollup").read_text())["Pss"]


def alone_mb(pid: int) -> float:
    """What a process takes, pages of files whole."""
    rollup = megabytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return rollup["Rss"]


def megabytes(text: str) -> dict[str, float]:
    """The amounts in a file such as smaps_rollup."""
    return {name: int(kilobytes) * 1024 / 1e6 for name, kilobytes in AMOUNT.findall(text)}


if __name__ == "__main__":
    sys.exit(main())
