"""Pages that keep themselves up to date, in a real browser."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cc_backend.model import Job, JobState
from cc_backend.services import Services
from cc_common.job_events import JobStart, JobStop, Resource

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
NUMBERS = itertools.count(5_000_001)
HOST, STEP_S = "tn310", 60


@pytest.fixture
def start(services: Services) -> Iterator[Callable[..., Job]]:
    """Starts a job on a node of its own; what still runs at the end is stopped."""
    started: list[Job] = []

    def one(ago_s: int = 600) -> Job:
        event = JobStart(
            cluster="tarn", user="mlindq", job_id=next(NUMBERS), start_time=services.now_s() - ago_s, num_nodes=1,
            resources=(Resource(hostname=HOST),), sub_cluster="main", partition="main", project="chem-102",
            num_hwthreads=96, walltime=7200, meta_data={"jobName": "short_test"},
        )  # fmt: skip
        started.append(services.job_lifecycle.start(event, now_s=services.now_s()))
        return started[-1]

    yield one
    for job in started:
        if job.job_id in {running.job_id for running in services.running_jobs.list_all()}:
            stop(services, job)


def stop(services: Services, job: Job) -> None:
    """Ends a job now."""
    event = JobStop(job_id=job.job_id, cluster=job.cluster, start_time=job.start_time, stop_time=services.now_s(),
                    state=JobState.COMPLETED)  # fmt: skip
    services.job_lifecycle.stop(event, now_s=services.now_s())


def send(services: Services, job: Job, *, first: int, last: int, load: float) -> None:
    """Samples of two metrics of the job, from one minute of it to another."""
    lines = [
        f"{metric},cluster=tarn,hostname={HOST},type=node value={value} {job.start_time + minute * STEP_S}"
        for metric, value in (("cpu_load", load), ("mem_used", 30))
        for minute in range(first, last)
    ]
    services.store.ingest("\n".join(lines).encode() + b"\n", received_s=services.now_s())


def next_round(page: Page) -> None:
    """Lets half a minute pass for the page, and waits until it has asked the server."""
    with page.expect_response(lambda response: response.request.resource_type == "fetch"):
        page.clock.run_for(31_000)
    page.wait_for_timeout(300)


def numbers(page: Page, heading: str) -> list[str]:
    """The job numbers of one part of the start page."""
    part = page.locator("section", has=page.locator(f"h2:text-matches('^{heading}')"))
    return [text.split(" ")[0] for text in part.locator("[data-row] a[href*='/monitoring/job/']").all_text_contents()]


def test_a_job_that_ends_moves_from_the_running_to_the_ended_ones_without_a_reload(
    visit: Visit, services: Services, start: Callable[..., Job]
) -> None:
    job = start()
    visitor = visit()
    visitor.page.clock.install()
    page = visitor.go("/")
    assert str(job.job_id) in numbers(page, "Running")
    stop(services, job)
    later = start()
    next_round(page)
    assert str(job.job_id) not in numbers(page, "Running")
    assert str(later.job_id) in numbers(page, "Running")
    assert str(job.job_id) in numbers(page, "Ended")
    page.clock.run_for(1000)
    expect(page.locator("[data-announce=news]")).to_contain_text("changed")


def test_curves_and_the_values_below_them_grow_with_a_running_job_and_it_is_told_when_it_ends(
    visit: Visit, services: Services, start: Callable[..., Job]
) -> None:
    job = start()
    send(services, job, first=0, last=5, load=40)
    visitor = visit()
    visitor.page.clock.install()
    page = visitor.go(f"/monitoring/job/{job.id}")
    read = page.locator("[data-read=cpu_load]")
    expect(read).to_contain_text("max 40")
    expect(page.locator("[data-plot=cpu_load] canvas")).to_be_visible()
    send(services, job, first=5, last=9, load=80)
    next_round(page)
    expect(read).to_contain_text("max 80")
    assert "80" in page.locator("[data-plot=cpu_load]").get_attribute("aria-label")
    page.focus("[data-plot=cpu_load]")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")  # the newest slot may still be empty
    expect(read).to_contain_text("80")
    page.clock.run_for(500)
    expect(page.locator("[data-announce=answer]")).to_contain_text("80")
    stop(services, job)
    next_round(page)
    page.clock.run_for(30_000)
    expect(page.locator("[data-announce=news]")).to_contain_text(f"Job {job.job_id}: Completed")
    expect(page.locator("[data-live-bar]")).to_be_visible()  # the archive is not written yet


def test_a_page_that_gets_no_answers_says_how_old_it_is(visit: Visit) -> None:
    visitor = visit()
    visitor.page.clock.install()
    page = visitor.go("/monitoring/jobs/")
    page.context.set_offline(True)
    for _ in range(2):
        page.clock.run_for(31_000)
        page.wait_for_timeout(200)
    expect(page.locator("[data-live-lost]")).to_contain_text("Not live, last")
    page.context.set_offline(False)
    next_round(page)
    expect(page.locator("[data-live-lost]")).to_be_hidden()
    visitor.complaints.clear()  # the browser tells of each request that failed


FOCUSED_ROW = "document.activeElement.closest('[data-row]')?.dataset.row"


def test_the_marked_row_and_the_focus_survive_an_update(
    visit: Visit, services: Services, start: Callable[..., Job]
) -> None:
    visitor = visit()
    visitor.page.clock.install()
    page = visitor.go("/monitoring/jobs/")
    for _ in range(3):
        page.keyboard.press("j")
    marked = page.locator("[data-row].on").get_attribute("data-row")
    start()
    next_round(page)
    assert page.locator("[data-row].on").get_attribute("data-row") == marked
    assert page.evaluate(FOCUSED_ROW) == marked


def test_the_row_is_focused_again_when_somebody_comes_back_from_its_job(visit: Visit) -> None:
    page = visit().go("/monitoring/jobs/?state=completed")
    page.keyboard.press("j")
    page.keyboard.press("j")
    marked = page.locator("[data-row].on").get_attribute("data-row")
    page.keyboard.press("Enter")
    page.wait_for_url("**/monitoring/job/*")
    page.go_back()
    page.wait_for_url("**/monitoring/jobs/?state=completed")
    page.wait_for_function(f"{FOCUSED_ROW} === '{marked}'")
    page.locator(f"[data-row='{marked}'] .job-t a").click()
    page.click(".crumbs a")
    page.wait_for_url("**/monitoring/jobs/?state=completed")
    page.wait_for_function(f"{FOCUSED_ROW} === '{marked}'")
