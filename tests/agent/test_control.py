from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.cli import PROGRAM
from cc_agent.control.client import ask_agent, socket_path
from cc_agent.control.marks import MAX_SERIES, MAX_SERIES_PER_JOB, JobMarks
from cc_agent.control.requests import (
    MAX_PAUSE_S,
    MAX_REQUEST_BYTES,
    ControlRequest,
    MarkRequest,
    PauseRequest,
    ResumeRequest,
    StatusRequest,
    decode_request,
    encode_request,
    parse_marks,
)
from cc_agent.control.server import ANSWER_TIMEOUT_S, ControlServer, is_allowed
from cc_agent.control.status import collector_documents, format_age, format_status
from cc_agent.errors import AgentError, ControlError
from cc_agent.sampler import CollectorStatus

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,39}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)
requests = st.one_of(
    st.just(StatusRequest()),
    st.just(ResumeRequest()),
    st.builds(
        PauseRequest,
        st.floats(min_value=1e-3, max_value=MAX_PAUSE_S),
        st.from_regex(r"[a-z0-9_]{0,32}", fullmatch=True),
    ),
    st.builds(MarkRequest, st.dictionaries(names, numbers, min_size=1, max_size=32)),
)


@given(requests)
def test_a_request_is_the_same_after_the_wire(request_: ControlRequest) -> None:
    assert decode_request(encode_request(request_)) == request_


@given(
    st.binary(max_size=200) | st.recursive(st.none() | numbers | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_bytes_from_anybody_are_a_request_or_are_refused(line: bytes) -> None:
    with contextlib.suppress(ControlError):
        decode_request(line)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"request": "reboot"}, "must be one of"),
        ([], "must be one of"),
        ({"request": "pause", "seconds": True}, "a pause takes"),
        ({"request": "pause", "seconds": -1}, "a pause takes"),
        ({"request": "pause", "job": "../1"}, "the id of a job"),
        ({"request": "pause", "job": 17}, "the id of a job"),
        ({"request": "pause", "job": "1" * 33}, "the id of a job"),
        ({"request": "pause", "seconds": 1e9}, "a pause takes"),
        ({"request": "mark"}, "at least one"),
        ({"request": "mark", "values": {}}, "at least one"),
        ({"request": "mark", "values": {"a b": 1}}, "cannot be the name"),
        ({"request": "mark", "values": {"x\n": 1}}, "cannot be the name"),
        ({"request": "mark", "values": {"x" * 41: 1}}, "cannot be the name"),
        ({"request": "mark", "values": {"x": "1"}}, "finite number"),
        ({"request": "mark", "values": {"x": True}}, "finite number"),
        ({"request": "mark", "values": {"x": 10**400}}, "finite number"),
        ({"request": "mark", "values": {f"x{n}": 1 for n in range(33)}}, "at most"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_is_wrong(document: Any, message: str) -> None:
    with pytest.raises(ControlError, match=message):
        decode_request(json.dumps(document).encode())


@pytest.mark.parametrize("line", [b"", b"{", b"\xff", b"[" * 100_000, b'{"request": "mark", "values": {"x": NaN}}'])
def test_broken_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        decode_request(line)


@pytest.mark.parametrize(
    ("words", "values"),
    [(["step=120", "loss=0.31"], {"step": 120.0, "loss": 0.31}), (["a=-1e-3"], {"a": -0.001})],
)
def test_marks_are_written_as_name_and_number(words: list[str], values: dict[str, float]) -> None:
    assert parse_marks(words) == values


@pytest.mark.parametrize("word", ["step", "step=", "step=fast", "=1", "step=nan", "step=inf", "9=1"])
def test_other_words_are_no_marks(word: str) -> None:
    with pytest.raises(ControlError):
        parse_marks([word])


@pytest.mark.parametrize("word", ["step", "step=", "step=fast"])
def test_a_word_that_is_no_mark_is_answered_with_the_form_of_one(word: str) -> None:
    with pytest.raises(ControlError, match="is not NAME=NUMBER, as in step=120"):
        parse_marks([word])


def test_the_last_mark_of_an_interval_is_a_sample_of_the_job() -> None:
    marks = JobMarks()
    marks.put("4711", {"loss": 0.5, "step": 1})
    marks.put("4711", {"loss": 0.25})
    marks.put("12", {"loss": 9.0})
    taken = {(series.metric, series.tags["type"], series.tags["type-id"]): value for series, value in marks.take()}
    assert taken == {
        ("job_mark_loss", "job", "4711"): 0.25,
        ("job_mark_step", "job", "4711"): 1,
        ("job_mark_loss", "job", "12"): 9.0,
    }
    assert marks.take() == []


def test_a_job_cannot_fill_the_agent_with_names_and_is_forgotten_when_it_is_silent() -> None:
    marks = JobMarks()
    marks.put("1", {f"x{n}": 0.0 for n in range(MAX_SERIES_PER_JOB)})
    with pytest.raises(ControlError, match="at most"):
        marks.put("1", {"one_more": 0.0})
    for _ in range(130):
        marks.take()
    marks.put("1", {"one_more": 0.0})
    assert len(marks.take()) == 1


def test_jobs_that_have_marks_keep_them_when_the_node_has_as_many_as_it_may() -> None:
    marks = JobMarks()
    for job in range(MAX_SERIES // MAX_SERIES_PER_JOB):
        marks.put(str(job), {f"x{n}": 0.0 for n in range(MAX_SERIES_PER_JOB)})
    with pytest.raises(ControlError, match="jobs of this node"):
        marks.put("late", {"x": 0.0})
    marks.put("0", {"x0": 7.0})
    readings = marks.take()
    assert len(readings) == MAX_SERIES
    assert 7.0 in [value for _, value in readings]


class Running:
    """A control server, and what it was asked."""

    def __init__(self, path: Path, job: str = "4711") -> None:
        self.path = path
        self.asked: list[tuple[ControlRequest, str]] = []
        self.error: Exception | None = None
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.loop = threading.Thread(target=self._loop)
        self.loop.start()
        self.server = ControlServer(path, self.answer, self.calls.put, job_of=lambda _pid: job)
        self.server.start()

    def _loop(self) -> None:
        while (call := self.calls.get()) is not None:
            call()

    def answer(self, request: ControlRequest, job: str) -> dict[str, Any]:
        self.asked.append((request, job))
        if self.error is not None:
            raise self.error
        return {"collectors": ["perf"]}

    def close(self) -> None:
        self.server.close()
        self.calls.put(None)
        self.loop.join()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path / "control.sock")
    yield server
    server.close()


def test_everybody_can_ask_and_marks_go_to_the_job_of_the_caller(running: Running) -> None:
    assert ask_agent(running.path, StatusRequest()) == {"collectors": ["perf"]}
    ask_agent(running.path, MarkRequest({"step": 1.0}))
    assert running.asked == [(StatusRequest(), ""), (MarkRequest({"step": 1.0}), "4711")]
    assert running.path.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("request_", [PauseRequest(60.0), ResumeRequest()])
def test_only_root_and_the_user_of_the_agent_pause_and_resume(request_: ControlRequest) -> None:
    assert [uid for uid in (0, 990, 1000) if is_allowed(request_, uid, own_uid=990)] == [0, 990]


@pytest.mark.parametrize("request_", [StatusRequest(), MarkRequest({"step": 1.0})])
def test_everybody_may_ask_for_the_status_and_mark(request_: ControlRequest) -> None:
    assert [uid for uid in (0, 990, 1000) if is_allowed(request_, uid, own_uid=990)] == [0, 990, 1000]


def test_who_asks_is_what_the_kernel_says(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_agent(running.path, PauseRequest(60.0))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr("cc_agent.control.server.ROOT_UID", 12346)
    with pytest.raises(ControlError, match="only root") as caught:
        ask_agent(running.path, PauseRequest(60.0))
    assert caught.value.code == "forbidden"
    assert len(running.asked) == 1


def test_a_mark_from_outside_of_jobs_is_refused(tmp_path: Path) -> None:
    server = Running(tmp_path / "s", job="")
    with pytest.raises(ControlError, match="in no job") as caught:
        ask_agent(server.path, MarkRequest({"step": 1.0}))
    server.close()
    assert caught.value.code == "not_in_a_job"
    assert server.asked == []


def test_an_agent_that_fails_says_so_and_goes_on(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    running.error = ZeroDivisionError()
    with pytest.raises(ControlError, match="failed to answer"):
        ask_agent(running.path, StatusRequest())
    running.error = ControlError("too_many_marks", "enough")
    with pytest.raises(ControlError, match="enough"):
        ask_agent(running.path, StatusRequest())
    running.error = None
    assert ask_agent(running.path, StatusRequest())


def test_callers_that_send_too_much_or_break_off_are_dropped(running: Running) -> None:
    for content in (b"x" * (MAX_REQUEST_BYTES * 4), b"", b'{"request": "status"'):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(running.path))
            answer = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(4096)
            assert json.loads(answer or b'{"code": "bad_request"}')["code"] == "bad_request"
    assert ask_agent(running.path, StatusRequest())


def test_the_server_ends_at_once_though_the_loop_owes_an_answer(tmp_path: Path) -> None:
    asked, answers = threading.Event(), []

    def never(_call: Callable[[], None]) -> None:
        asked.set()

    server = ControlServer(tmp_path / "control.sock", lambda _request, _job: {}, never)
    server.start()

    def ask() -> None:
        try:
            ask_agent(tmp_path / "control.sock", StatusRequest())
        except ControlError as error:
            answers.append(error.code)

    caller = threading.Thread(target=ask)
    caller.start()
    assert asked.wait(20)
    began_s = time.monotonic()
    server.close()
    assert time.monotonic() - began_s < ANSWER_TIMEOUT_S / 2
    caller.join()
    assert answers == ["busy"]


def test_the_socket_of_a_killed_agent_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    server = Running(path)
    assert ask_agent(path, StatusRequest())
    server.close()
    assert not path.exists()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(AgentError, match="control socket"):
        ControlServer(path, server.answer, server.calls.put).start()
    assert path.read_text(encoding="utf-8") == "mine"


def test_where_no_agent_runs_the_commands_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["status"], ["pause"], ["resume"], ["mark", "step=1"]):
        assert PROGRAM.main([*words, "--socket", str(tmp_path / "none")]) == 1
        assert "is cc-agent running on this node?" in capsys.readouterr().err
    assert socket_path(None, {"RUNTIME_DIRECTORY": "/run/a:/run/b"}) == Path("/run/a/control.sock")
    assert socket_path(None, {}) == Path("/run/cc-agent/control.sock")


def test_an_answer_that_is_none_of_an_agent_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for content in (b"hello\n", b"[]\n", b""):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(1)

        def serve(listening: socket.socket = listening, content: bytes = content) -> None:
            connection, _ = listening.accept()
            connection.recv(4096)
            connection.sendall(content)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ControlError, match="not one of an agent"):
            ask_agent(path, StatusRequest())
        thread.join()
        listening.close()
        path.unlink()


def test_the_status_as_text_has_a_line_for_each_collector_and_says_what_to_do() -> None:
    statuses = [
        CollectorStatus("cpustat", 260, "", "", age_s=12.3, reading_s=0.002, cpu_s=0.0011, readings=7),
        CollectorStatus("rapl", 0, "no right to read RAPL", "give CAP_PERFMON"),
        CollectorStatus("nvidia", 0, "no NVIDIA driver", "install it", absent=True),
    ]
    text = format_status(
        {
            "version": "1.0",
            "hostname": "n01",
            "cluster": "demo",
            "configuration": "built-in defaults",
            "interval_s": 60,
            "uptime_s": 7500,
            "skipped_ticks": 0,
            "collectors": collector_documents(statuses),
            "sinks": ["central"],
            "receivers": [{"name": "others", "accepted": 17, "rejected": 1}],
        }
    )
    assert text.splitlines() == [
        "cc-agent 1.0: n01 of cluster demo, every 60 s, up 2 h 5 min, 0 ticks skipped",
        "configuration: built-in defaults",
        "",
        "collector  state   samples  last      cpu ms",
        "cpustat    works   260      12 s ago  1.10",
        "rapl       fails   0        never     0.00",
        "nvidia     absent  0        never     0.00",
        "",
        "rapl: no right to read RAPL; do: give CAP_PERFMON",
        "nvidia: no NVIDIA driver",
        "",
        "sink central",
        "receiver others: 17 messages accepted, 1 rejected",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (180000, "2 d 2 h")]
)
def test_ages_have_two_units_at_most(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


def test_once_prints_lines_json_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["once", "--hostname", "n01", "--cluster", "demo", "--format"]
    assert PROGRAM.main([*words, "json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"name", "tags", "value", "time_s"} == set(documents[0])
    assert PROGRAM.main([*words, "table"]) == 0
    assert any(line.split()[:2] == ["mem_used", "node"] for line in capsys.readouterr().out.splitlines())
