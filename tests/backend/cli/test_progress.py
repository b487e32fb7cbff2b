import io

import pytest

from cc_backend.cli.progress import ProgressBar


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("is_terminal", "step_s"), [(True, 0.2), (False, 5.0)])
def test_progress_is_shown_now_and_then_and_at_the_end(is_terminal: bool, step_s: float) -> None:
    stream, clock = io.StringIO(), Clock()
    bar = ProgressBar(stream, clock=clock, is_terminal=is_terminal)
    bar.show("jobs", 1, 100)
    clock.now_s += step_s - 0.1
    bar.show("jobs", 2, 100)
    assert stream.getvalue() == ""
    clock.now_s += 0.2
    bar.show("jobs", 50, 100)
    assert "jobs: 50 of 100" in stream.getvalue()
    bar.show("jobs", 51, 100)
    assert "51" not in stream.getvalue()
    bar.show("jobs", 100, 100)
    assert stream.getvalue().endswith("\n")
    assert "jobs: 100 of 100" in stream.getvalue()


def test_without_a_terminal_there_are_plain_lines() -> None:
    stream, clock = io.StringIO(), Clock()
    bar = ProgressBar(stream, clock=clock, is_terminal=False)
    bar.show("jobs", 1, 20_000)
    clock.now_s += 5
    bar.show("jobs", 10_000, 20_000)
    clock.now_s += 1
    bar.show("jobs", 20_000, 20_000)
    assert stream.getvalue() == "jobs: 10000 of 20000, 2000/s\njobs: 20000 of 20000, 3333/s\n"


def test_a_terminal_gets_one_line_that_is_overwritten() -> None:
    stream, clock = io.StringIO(), Clock()
    bar = ProgressBar(stream, clock=clock, is_terminal=True)
    bar.show("jobs", 1, 2)
    clock.now_s += 1
    bar.show("jobs", 1, 2)
    bar.show("jobs", 2, 2)
    first, second = stream.getvalue().split("\r")[1:]
    assert first == f"[{'#' * 15}{'-' * 15}] jobs: 1 of 2\x1b[K"
    assert second == f"[{'#' * 30}] jobs: 2 of 2\x1b[K\n"


def test_nothing_to_do_is_done() -> None:
    stream = io.StringIO()
    ProgressBar(stream, is_terminal=True).show("jobs", 0, 0)
    assert "jobs: 0 of 0" in stream.getvalue()
