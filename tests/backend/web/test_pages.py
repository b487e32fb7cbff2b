"""The pages as a browser gets them, from the whole application."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import pytest
from flask.testing import FlaskClient

from cc_backend.auth.caller import Caller, Role
from cc_backend.auth.passwords import HashSlots
from cc_backend.jobs.tags import attach_tags, list_tags
from cc_backend.model import RowRule, Tag

NO_BREAK = "\u00a0"
PASSWORD = "a long enough one"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}"
JOBS = "/monitoring/jobs/"
PLOTS = "application/vnd.clustercockpit.plots"


class Site(Protocol):
    """What these tests use of the site fixture."""

    client: FlaskClient
    clock: Any
    services: Any

    def user(self, name: str, *roles: str, **more: Any) -> Any: ...
    def start_job(self, **changes: Any) -> int: ...
    def stop_job(self, **more: Any) -> Any: ...
    def write_node(self, host: str, *, from_s: int, minutes: int, skip: Any = ()) -> None: ...


def sign_in(site: Site, name: str = "hbrandt", *roles: str, **more: Any) -> FlaskClient:
    site.user(name, *(roles or ("support",)), password=PASSWORD, **more)
    answer = site.client.post("/login", data={"username": name, "password": PASSWORD, "redirect": "/"})
    assert answer.status_code == 303
    return site.client


def job_rows(page: Any) -> list[Any]:
    """The rows of a list with plots."""
    return [row for row in page.all("li") if "data-row" in row.attributes]


def curves_of(document: dict[str, Any]) -> list[list[float | None]]:
    """All curves of plots, taken out of their document."""
    out = []
    for plot in document["plots"].values():
        out += [line.pop("y") for line in plot["lines"]]
        out += [band.pop(edge) for band in plot["bands"] for edge in ("low", "high")]
    return out


@pytest.fixture
def running(site: Site) -> int:
    """A job that has been running for half an hour, with samples."""
    start_s = int(site.clock())
    id_ = site.start_job(metaData={"jobName": EVIL, "jobScript": EVIL, "slurmInfo": EVIL, EVIL[:20]: EVIL})
    site.clock.advance(1800)
    site.write_node("tn01", from_s=start_s, minutes=30, skip=(10, 11, 12, 13))
    return id_


def test_somebody_unknown_gets_the_sign_in_form_at_the_same_address(
    site: Site, read_page: Callable[[str], Any]
) -> None:
    answer = site.client.get(f"{JOBS}?state=running")
    page = read_page(answer.text)
    assert answer.status_code == 401
    assert page.all("input", name="redirect")[0].attributes["value"] == f"{JOBS}?state=running"
    assert answer.headers["Cache-Control"] == "no-store"


def test_signing_in_leads_to_the_page_that_was_asked_for(site: Site) -> None:
    site.user("mlindqv", password=PASSWORD)
    form = {"username": "mlindqv", "password": PASSWORD, "redirect": f"{JOBS}?page=2"}
    answer = site.client.post("/login", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{JOBS}?page=2")


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"])
def test_signing_in_never_leads_elsewhere(site: Site, target: str) -> None:
    site.user("mlindqv", password=PASSWORD)
    answer = site.client.post("/login", data={"username": "mlindqv", "password": PASSWORD, "redirect": target})
    assert answer.headers["Location"] == "/"


def test_a_wrong_name_and_a_wrong_password_say_the_same(site: Site) -> None:
    site.user("mlindqv", password=PASSWORD)
    answers = [
        site.client.post("/login", data={"username": name, "password": "wrong wrong wrong"})
        for name in ("mlindqv", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    texts = [re.sub(r'value="[^"]*"', "", answer.text) for answer in answers]
    assert texts[0] == texts[1]
    assert "User name or password is wrong." in texts[0]


def test_too_many_tries_say_when_to_come_back(site: Site) -> None:
    site.user("mlindqv", password=PASSWORD)
    for _ in range(30):
        answer = site.client.post("/login", data={"username": "mlindqv", "password": "wrong wrong wrong"})
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "Too many failed tries" in answer.text


def test_strangers_who_try_passwords_do_not_lock_the_owner_out(site: Site) -> None:
    site.user("mlindqv", password=PASSWORD)
    right = {"username": "mlindqv", "password": PASSWORD}
    assert site.client.post("/login", data=right).status_code == 303
    mine, stranger = site.client, site.app.test_client()

    def failures(addresses: list[str]) -> list[int]:
        wrong = {"username": "mlindqv", "password": "wrong wrong wrong"}
        return [
            stranger.post("/login", data=wrong, environ_overrides={"REMOTE_ADDR": address}).status_code
            for address in addresses
        ]

    assert failures(["192.0.2.1"] * 10) == [401] * 5 + [429] * 5
    elsewhere = site.app.test_client().post("/login", data=right, environ_overrides={"REMOTE_ADDR": "192.0.2.2"})
    assert elsewhere.status_code == 303
    assert 429 in failures([f"198.51.100.{number}" for number in range(40)])
    elsewhere = site.app.test_client().post("/login", data=right, environ_overrides={"REMOTE_ADDR": "192.0.2.2"})
    assert elsewhere.status_code == 429
    assert mine.post("/login", data=right, environ_overrides={"REMOTE_ADDR": "192.0.2.1"}).status_code == 303


def test_the_cookie_of_a_browser_does_not_help_with_another_account(site: Site) -> None:
    site.user("mlindqv", password=PASSWORD)
    site.user("mallory", password=PASSWORD)
    assert site.client.post("/login", data={"username": "mallory", "password": PASSWORD}).status_code == 303
    wrong = {"username": "mlindqv", "password": "wrong wrong wrong"}
    assert [site.client.post("/login", data=wrong).status_code for _ in range(7)] == [401] * 5 + [429] * 2


def test_in_a_flood_of_logins_the_form_says_so_and_keeps_the_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.services.users, "_slots", HashSlots(running=1, waiting=-1, reserved=0))
    answer = site.client.post("/login", data={"username": "mlindqv", "password": PASSWORD})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "Many people sign in" in answer.text
    assert 'value="mlindqv"' in answer.text


def test_signing_out_needs_the_token_of_the_page(site: Site, read_page: Callable[[str], Any]) -> None:
    client = sign_in(site)
    assert client.post("/logout").status_code == 403
    token = read_page(client.get("/").text).all("input", name="csrf_token")[0].attributes["value"]
    answer = client.post("/logout", data={"csrf_token": token})
    assert answer.status_code == 303
    assert client.get("/").status_code == 401


def test_every_form_that_posts_carries_the_token(site: Site, running: int) -> None:
    client = sign_in(site)
    for path in ("/", JOBS, f"/monitoring/job/{running}"):
        for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", client.get(path).text, re.DOTALL):
            assert 'name="csrf_token" value="' in form
            assert 'name="csrf_token" value=""' not in form


def test_the_theme_is_kept_in_a_cookie_and_leads_back(site: Site, read_page: Callable[[str], Any]) -> None:
    client = sign_in(site)
    token = read_page(client.get("/").text).all("input", name="csrf_token")[0].attributes["value"]
    answer = client.post("/theme", data={"csrf_token": token, "theme": "dark", "back": JOBS})
    assert (answer.status_code, answer.headers["Location"]) == (303, JOBS)
    assert 'data-theme="dark"' in client.get(JOBS).text
    assert client.post("/theme", data={"csrf_token": token, "theme": "pink"}).status_code == 400


def test_the_start_page_says_what_matters_in_a_sentence(site: Site, running: int) -> None:
    page = sign_in(site).get("/").text.replace(NO_BREAK, " ")
    assert re.search(r"<h1[^>]*>1 job runs( and needs your attention)?\.</h1>", page)


def test_the_job_page_says_why_samples_are_missing(site: Site, running: int, read_page: Callable[[str], Any]) -> None:
    client = sign_in(site)
    text = client.get(f"/monitoring/job/{running}").text.replace(NO_BREAK, " ")
    assert "The agent on tn01 was silent for 4 of 30 min." in text
    assert "tn01 sent nothing from" in read_page(text).all("p", data_live="why-load_one")[0].text
    assert "This job has no GPU of which" in text
    document = client.get(f"/monitoring/job/{running}/data").get_json()
    (one,) = document["absences"]["load_one"]
    assert (one["reason"], one["hosts"], one["to"] - one["from"]) == ("host_silent", ["tn01"], 240)


@pytest.mark.parametrize("path", ["/", JOBS, f"{JOBS}?view=table", f"{JOBS}?q=nothing", "/monitoring/job/{id}"])
def test_each_live_part_of_a_page_has_a_key_and_an_id_of_its_own(
    site: Site, path: str, read_page: Callable[[str], Any]
) -> None:
    site.start_job(jobId=1)
    site.clock.advance(60)
    site.stop_job(job_id=1)
    id_ = site.start_job(jobId=2)
    page = read_page(sign_in(site).get(path.format(id=id_)).text)
    for name in ("data-live", "id"):
        keys = [element.attributes[name] for element in page.elements if name in element.attributes]
        assert keys
        assert len(set(keys)) == len(keys), name


def test_a_job_page_stays_live_until_the_archive_is_written(site: Site) -> None:
    id_, client = site.start_job(), sign_in(site)
    page = f"/monitoring/job/{id_}"
    assert "data-live-bar" in client.get(page).text
    site.clock.advance(600)
    site.stop_job()
    assert "data-live-bar" in client.get(page).text
    site.write_node("tn01", from_s=int(site.clock()) - 600, minutes=11)
    site.archive()
    assert "data-live-bar" not in client.get(page).text


@pytest.fixture
def three(site: Site) -> list[int]:
    """Three running jobs: of two people, on one or two nodes, with and without a GPU, an array and a tag."""
    site.user("mlindqv", full_name="Maria Lindqvist")
    first = site.start_job(jobId=4711, tags=[{"type": "code", "name": "gromacs", "scope": "global"}])
    site.clock.advance(3600)
    second = site.start_job(
        jobId=4712, numNodes=2, resources=[{"hostname": "tn01"}, {"hostname": "tn02"}], user="kmeyer",
        metaData={"jobName": "interactive"}, arrayJobId=99000, shared="single_user",
    )  # fmt: skip
    site.clock.advance(3600)
    third = site.start_job(
        jobId=5711, resources=[{"hostname": "tn02", "accelerators": ["00000000:17:00.0"]}], numAcc=1, project="chem",
    )  # fmt: skip
    return [first, second, third]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [4711, 4712, 5711]),
        ("numNodes=2", [4712]),
        ("numNodes=lessthan-1", [4711, 5711]),
        ("numNodes[from]=2", [4712]),
        ("numAccelerators=morethan-1", [5711]),
        ("numHWThreads=1-4", []),
        ("duration=morethan-1h", [4711, 4712]),
        ("duration=lessthan-30min", [5711]),
        ("energy=morethan-1", []),
        ("stat=load_one_avg-morethan-1", []),
        ("tag=code:gromacs", [4711]),
        ("tag=1", [4711]),
        ("tag=77", []),
        ("shared=single_user", [4712]),
        ("shared=single_user&shared=none", [4711, 4712, 5711]),
        ("schedule=interactive", [4712]),
        ("schedule=batch", [4711, 5711]),
        ("dbId=1&dbId=3", [4711, 5711]),
        ("jobId=4711&jobId=4712", [4711, 4712]),
        ("arrayJobId=99000", [4712]),
        ("jobName=elax", [4711, 5711]),
        ("node=tn02", [4712, 5711]),
        ("node=tn[01-02]", [4711, 4712, 5711]),
        ("node=n0&nodeMatch=contains", [4711, 4712, 5711]),
        ("node=n0", []),
        ("user=lind", [4711, 5711]),
        ("user=lind&userMatch=eq", []),
        ("user=mlindqv&user=kmeyer", [4711, 4712, 5711]),
        ("project=hydro", []),
        ("project=hydro&projectMatch=contains", [4711, 4712]),
        ("ran=1760000500", [4711]),
        ("q=47", [4711, 4712]),
        ("q=990", [4712]),
        ("q=Lindqvist", [4711, 5711]),
        ("q=name:maria", [4711, 5711]),
        ("q=name:nobody", []),
        ("q=tn02", [4712, 5711]),
    ],
)
def test_each_filter_of_the_reference_narrows_the_list(
    site: Site, three: list[int], query: str, numbers: list[int], read_page: Callable[[str], Any]
) -> None:
    answer = sign_in(site).get(f"{JOBS}?{query}", follow_redirects=True)
    assert answer.status_code == 200
    page = read_page(answer.text)
    known = {str(id_): number for id_, number in zip(three, (4711, 4712, 5711), strict=True)}
    assert sorted(known[row.attributes["data-row"]] for row in job_rows(page)) == numbers
    if query:
        assert any(element.attributes.get("class") == "pill" for element in page.elements)
    assert "not understood" not in answer.text


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("user:kmeyer", "user=kmeyer"),
        ("node:tn01", "node=tn01"),
        ("tn[01-02]", "node=tn%5B01-02%5D"),
        ("array:99000", "arrayJobId=99000"),
    ],
)
def test_a_keyword_in_the_search_field_becomes_a_filter(site: Site, three: list[int], typed: str, address: str) -> None:
    answer = sign_in(site).get(JOBS, query_string={"q": typed})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{JOBS}?{address}")


def test_a_filter_that_is_not_understood_is_a_pill_with_the_nearest_known_name(
    site: Site, three: list[int], read_page: Callable[[str], Any]
) -> None:
    client = sign_in(site)
    page = read_page(client.get(f"{JOBS}?durration=5&cluster=tern&started=7d&from=2020-01-01").text)
    (unknown, unused) = sorted(
        (e for e in page.elements if e.attributes.get("class") == "pill" and e.attributes.get("data-v") == "caution"),
        key=lambda element: "is not used" in element.text,
    )
    assert "not understood durration=5, did you mean duration?" in " ".join(unknown.text.split())
    assert "from is not used" in unused.text
    assert len(job_rows(page)) == 3
    (less,) = list(page.all("a", aria_label="Remove filter not understood"))
    assert "durration" not in less.attributes["href"]
    assert "cluster=tern" in less.attributes["href"]


def test_a_tag_that_is_somebody_elses_finds_nothing(site: Site, three: list[int]) -> None:
    owner = Caller(name="kmeyer", roles=frozenset({Role.USER}))
    attach_tags(site.services.database, three[0], [Tag("mine", "odd", "kmeyer")], owner)
    (id_,) = [id_ for id_, tag in list_tags(site.services.database, owner) if tag.type == "mine"]
    client = sign_in(site)
    for tag in (id_, "mine:odd"):
        text = client.get(f"{JOBS}?tag={tag}").text
        assert "No job matches" in text
        assert "mine: odd" not in text


def test_an_empty_result_says_which_filter_to_remove(site: Site, three: list[int]) -> None:
    text = sign_in(site).get(f"{JOBS}?user=kmeyer&numAccelerators=1&q=relax").text.replace(NO_BREAK, " ")
    assert "No job matches" in text
    assert "1 job without the filter: user contains kmeyer" in text
    assert "node:" in text


def test_the_form_of_filters_shows_what_is_set_and_keeps_what_has_no_field(
    site: Site, three: list[int], read_page: Callable[[str], Any]
) -> None:
    address = f"{JOBS}?numNodes=2-8&duration=lessthan-2h&tag=1&node=tn[01-02]&shared=none&from=1760000400&view=table"
    page = read_page(sign_in(site).get(address).text)
    values = {e.attributes["name"]: e.attributes.get("value") for e in page.all("input") if "name" in e.attributes}
    assert (values["numNodes[from]"], values["numNodes[to]"], values["duration[to]"]) == ("2", "8", "2h")
    assert values["node"] == "tn[01-02]"
    assert values["shared"] == "none"
    assert values["view"] == "table"
    assert page.with_id("f-from").attributes["value"].startswith("2025-10-09T")
    assert any(e.attributes["value"] == "1" and "checked" in e.attributes for e in page.all("input", name="tag"))


def test_the_list_of_the_api_knows_the_same_filters(site: Site, three: list[int]) -> None:
    headers = site.headers("api")

    def numbers(query: str) -> list[int]:
        answer = site.client.get(f"/api/jobs/?{query}", headers=headers)
        assert answer.status_code == 200, answer.text
        return sorted(job["jobId"] for job in answer.get_json()["jobs"])

    assert numbers("numNodes=2") == [4712]
    assert numbers("duration=morethan-1h&schedule=batch") == [4711]
    assert numbers("tag=code:gromacs") == [4711]
    assert numbers("node=tn[02]&numAccelerators=0") == [4712]
    assert numbers("user=lind") == []
    refused = site.client.get("/api/jobs/?numNodes=many", headers=headers)
    assert (refused.status_code, "numNodes" in refused.get_json()["error"]) == (400, True)


def test_an_empty_site_has_no_empty_pages(site: Site) -> None:
    client = sign_in(site)
    assert "No job runs" in client.get("/").text
    assert "No jobs yet" in client.get(JOBS).text
    assert "No job matches" in client.get(f"{JOBS}?user=nobody").text


def test_the_list_shows_each_job_with_its_previews(site: Site, running: int, read_page: Callable[[str], Any]) -> None:
    page = read_page(sign_in(site).get(JOBS).text)
    assert len(page.all("li", data_row=str(running))) == 1
    assert len(page.all("svg", class_="spk")) == 4


def test_the_table_view_has_the_same_jobs_without_plots(
    site: Site, running: int, read_page: Callable[[str], Any]
) -> None:
    page = read_page(sign_in(site).get(f"{JOBS}?view=table").text)
    assert len(page.all("tr", data_row=str(running))) == 1
    assert page.all("svg", class_="spk") == []


def test_filters_choose_jobs_and_appear_as_pills(site: Site, running: int, read_page: Callable[[str], Any]) -> None:
    client = sign_in(site)
    found = read_page(client.get(f"{JOBS}?state=running&user=mlindqv&started=7d").text)
    assert len(found.all("li", data_row=str(running))) == 1
    assert len(found.all("span", class_="pill")) == 3
    assert client.get(f"{JOBS}?state=failed").text.count("data-row") == 0


def test_a_filter_that_cannot_be_is_told_by_name(site: Site) -> None:
    answer = sign_in(site).get(f"{JOBS}?sort=size")
    assert answer.status_code == 400
    assert "&#39;sort&#39; must be one of" in answer.text


def test_pages_of_a_list_follow_each_other(site: Site, read_page: Callable[[str], Any]) -> None:
    for number in range(30):
        site.start_job(jobId=1000 + number, startTime=int(site.clock()) - number)
    client = sign_in(site)
    first = read_page(client.get(JOBS).text)
    assert [a.attributes["href"] for a in first.all("a", rel="next")] == [f"{JOBS}?page=2"]
    second = client.get(f"{JOBS}?page=2").text
    assert second.count("data-row") == 5
    assert "26\N{EN DASH}30 of 30" in second
    assert "This page is empty" in client.get(f"{JOBS}?page=9").text


def test_a_job_number_in_the_search_leads_to_the_job(site: Site, running: int) -> None:
    answer = sign_in(site).get(f"{JOBS}?q=88412")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/monitoring/job/{running}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/search?searchId=88412", f"{JOBS}?q=88412"),
        ("/search?searchId=projectId:hydro7%26a", f"{JOBS}?q=projectId:hydro7%26a"),
        ("/search?searchId=//evil.example", f"{JOBS}?q=//evil.example"),
        ("/search", JOBS),
        ("/monitoring/user/mlindqv", f"{JOBS}?user=mlindqv&userMatch=eq"),
        (
            "/monitoring/user/a%3Fb%26c?state=running&state=failed&user=eve",
            f"{JOBS}?state=running&state=failed&user=a?b%26c&userMatch=eq",
        ),
    ],
)
def test_addresses_of_the_reference_lead_to_the_list(site: Site, old: str, new: str) -> None:
    answer = sign_in(site).get(old)
    assert answer.status_code == 303
    path, _, query = answer.headers["Location"].partition("?")
    assert path == JOBS
    assert parse_qsl(query) == parse_qsl(new.partition("?")[2])


def test_people_see_their_own_jobs_only(site: Site, running: int) -> None:
    client = sign_in(site, "stranger", "user")
    assert client.get(JOBS).text.count("data-row") == 0
    assert client.get(f"/monitoring/job/{running}").status_code == 404
    assert client.get(f"/monitoring/job/{running}/data").status_code == 404
    assert client.get(f"/monitoring/job/{running}/series/load_one").status_code == 404
    assert client.get(f"{JOBS}?user=mlindqv").text.count("data-row") == 0


def test_the_job_page_has_plots_as_pictures_before_any_script_runs(
    site: Site, running: int, read_page: Callable[[str], Any]
) -> None:
    answer = sign_in(site).get(f"/monitoring/job/{running}")
    page = read_page(answer.text)
    plots = [figure for figure in page.elements if figure.attributes.get("data-plot")]
    assert answer.status_code == 200
    assert {figure.attributes["data-plot"] for figure in plots} >= {"load_one", "mem_used", "flops_any", "cpu_user"}
    assert all(figure.attributes["aria-label"] for figure in plots)
    assert 'class="gap"' in answer.text
    assert page.with_id("statistics")


@pytest.mark.parametrize("scope", ["node", "socket", "core", "hwthread", "accelerator"])
def test_each_scope_that_is_offered_can_be_seen(site: Site, running: int, scope: str) -> None:
    client = sign_in(site)
    page = client.get(f"/monitoring/job/{running}")
    offered = re.findall(r"scope=(\w+)", page.text)
    answer = client.get(f"/monitoring/job/{running}?scope={scope}")
    assert answer.status_code == (200 if scope == "node" or scope in offered else 400)


def test_the_clock_axis_is_part_of_the_address(site: Site, running: int) -> None:
    page = sign_in(site).get(f"/monitoring/job/{running}?axis=clock").text
    assert f"/monitoring/job/{running}/data?axis=clock" in page


def test_the_numbers_of_the_plots_are_not_sent_twice(site: Site, running: int) -> None:
    client = sign_in(site)
    first = client.get(f"/monitoring/job/{running}/data")
    again = client.get(f"/monitoring/job/{running}/data", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert first.get_json()["plots"]["load_one"]["lines"][0]["y"][0] == 4


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PLOTS, PLOTS),
        (f"{PLOTS}, application/json;q=0.5", PLOTS),
        (f"*/*;q=0.1, {PLOTS}", PLOTS),
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        (f"application/json, {PLOTS};q=0.5", "application/json"),
        (f"{PLOTS};q=0", "application/json"),
        ("text/html", "application/json"),
        ("application/vnd.clustercockpit.series", "application/json"),
    ],
)
def test_the_numbers_come_in_binary_form_for_who_asks_for_it(
    site: Site, running: int, accept: str | None, content_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = sign_in(site).get(f"/monitoring/job/{running}/data", headers=headers)
    assert (answer.status_code, answer.content_type) == (200, content_type)
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_both_forms_of_the_numbers_say_the_same(
    site: Site, running: int, read_plots: Callable[[bytes], dict[str, Any]]
) -> None:
    client = sign_in(site)
    address = f"/monitoring/job/{running}/data?axis=clock"
    plain = client.get(address).get_json()
    binary = read_plots(client.get(address, headers={"Accept": PLOTS}).data)
    assert plain.pop("absences")  # the page has them in words
    numbers, expected = curves_of(binary), curves_of(plain)
    assert binary == plain
    assert len(expected) >= 4
    for curve, wanted in zip(numbers, expected, strict=True):
        assert curve == [None if value is None else pytest.approx(value, rel=6e-5) for value in wanted]


def test_the_binary_numbers_have_the_gaps_of_the_samples(
    site: Site, running: int, read_plots: Callable[[bytes], dict[str, Any]]
) -> None:
    body = sign_in(site).get(f"/monitoring/job/{running}/data", headers={"Accept": PLOTS}).data
    (line,) = read_plots(body)["plots"]["load_one"]["lines"]
    assert line["y"][:10] == [4 + minute % 3 for minute in range(10)]
    assert line["y"][10:14] == [None] * 4
    assert line["y"][14] == 4 + 14 % 3


def test_the_binary_numbers_of_a_job_without_samples_are_no_plots(
    site: Site, read_plots: Callable[[bytes], dict[str, Any]]
) -> None:
    id_ = site.start_job()
    body = sign_in(site).get(f"/monitoring/job/{id_}/data", headers={"Accept": PLOTS}).data
    assert read_plots(body)["plots"] == {}


def test_each_form_of_the_numbers_is_sent_once(site: Site, running: int) -> None:
    client = sign_in(site)
    address = f"/monitoring/job/{running}/data"
    tags = {accept: client.get(address, headers={"Accept": accept}).headers["ETag"] for accept in (PLOTS, "*/*")}
    answers = {
        (accept, tag): client.get(address, headers={"Accept": accept, "If-None-Match": tags[tag]})
        for accept in tags
        for tag in tags
    }
    statuses = {pair: answer.status_code for pair, answer in answers.items()}
    assert statuses == {(PLOTS, PLOTS): 304, ("*/*", "*/*"): 304, (PLOTS, "*/*"): 200, ("*/*", PLOTS): 200}
    assert {frozenset(answer.vary) for answer in answers.values()} == {frozenset({"Accept", "Accept-Encoding"})}


@pytest.mark.parametrize("accept", ["application/json", PLOTS])
def test_the_numbers_are_refused_in_json_without_a_login(site: Site, running: int, accept: str) -> None:
    answer = site.client.get(f"/monitoring/job/{running}/data", headers={"Accept": accept})
    assert answer.status_code == 401
    assert answer.is_json


@pytest.mark.parametrize("accept", ["application/json", PLOTS])
def test_the_numbers_of_others_and_at_scopes_that_are_not_offered_are_refused_in_json(
    site: Site, running: int, accept: str
) -> None:
    stranger = sign_in(site, "stranger", "user")
    headers = {"Accept": accept}
    answers = [
        stranger.get(f"/monitoring/job/{running}/data", headers=headers),
        sign_in(site).get(f"/monitoring/job/{running}/data?scope=rack", headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [404, 400]
    assert all(answer.is_json for answer in answers)


def test_each_plot_is_a_table_and_a_csv_as_well(site: Site, running: int) -> None:
    client = sign_in(site)
    table = client.get(f"/monitoring/job/{running}/series/load_one")
    assert "<table" in table.text
    sheet = client.get(f"/monitoring/job/{running}/series/load_one?as=csv")
    assert sheet.mimetype == "text/csv"
    assert sheet.text.splitlines()[:2] == ["time_s,time,tn01", "1760000400,2025-10-09T09:00:00Z,4"]
    sheet = client.get(f"/monitoring/job/{running}/series/mem_used?as=csv")
    assert sheet.text.splitlines()[0] == "time_s,time,tn01 (GB)"
    assert client.get(f"/monitoring/job/{running}/series/nothing").status_code == 404


def test_a_job_and_a_list_can_be_saved_without_script(
    site: Site, running: int, read_page: Callable[[str], Any]
) -> None:
    client = sign_in(site)
    for path, name in ((f"/monitoring/job/{running}", "job-"), (f"{JOBS}?state=running&sort=oldest&per=50", "jobs.")):
        links = [link.attributes.get("href", "") for link in read_page(client.get(path).text).all("a")]
        saving = [link for link in links if "/export?" in link]
        assert [link.rpartition("format=")[2] for link in saving] == ["csv", "json"]
        for link, mimetype in zip(saving, ("text/csv", "application/json"), strict=True):
            answer = client.get(link)
            assert (answer.status_code, answer.mimetype) == (200, mimetype)
            assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="{name}')
            assert str(answer.headers["Cache-Control"]) == "private, no-cache"


def test_a_saved_list_has_all_jobs_of_its_filters_in_its_order(site: Site) -> None:
    for number in range(1, 31):
        site.start_job(jobId=number, user="ada" if number > 3 else "bob", startTime=int(site.clock()) - 1000 + number)
    client = sign_in(site)
    saved = client.get("/monitoring/jobs/export?format=json&user=ada&sort=oldest&page=2&per=25").get_json()
    assert [job["jobId"] for job in saved["jobs"]] == list(range(4, 31))
    assert saved["total"] == 27
    assert len(client.get("/monitoring/jobs/export?format=csv&q=user:bob").text.splitlines()) == 4
    assert client.get("/monitoring/jobs/export?format=parquet").status_code == 400


def test_people_save_their_own_jobs_only(site: Site, running: int) -> None:
    client = sign_in(site, "eve", "user")
    assert client.get(f"/monitoring/job/{running}/export?format=csv").status_code == 404
    assert len(client.get("/monitoring/jobs/export?format=csv").text.splitlines()) == 1
    assert site.app.test_client().get(f"/monitoring/job/{running}/export?format=csv").status_code in (303, 401)


def test_what_a_job_says_of_itself_is_text_and_never_markup(
    site: Site, running: int, read_page: Callable[[str], Any]
) -> None:
    client = sign_in(site)
    for path in ("/", JOBS, f"{JOBS}?view=table", f"/monitoring/job/{running}"):
        html = client.get(path).text
        page = read_page(html)
        assert "<script>alert" not in html
        assert "49" not in re.findall(r"<h1>.*?</h1>", html, re.DOTALL)[:1]
        assert not [e for e in page.elements if any(name.startswith("on") for name in e.attributes)]
        assert page.all("img") == []


def test_no_page_has_script_or_style_of_its_own(site: Site, running: int, read_page: Callable[[str], Any]) -> None:
    client = sign_in(site)
    paths = ["/", JOBS, f"{JOBS}?view=table", f"/monitoring/job/{running}", "/nothing", f"{JOBS}?sort=x"]
    pages = [client.get(path) for path in [*paths, f"/monitoring/job/{running}/series/load_one"]]
    pages.append(site.client.application.test_client().get("/login"))
    for answer in pages:
        page = read_page(answer.text)
        assert page.inline_scripts == []
        assert page.all("style") == []
        assert not [element for element in page.elements if "style" in element.attributes]
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_every_page_has_its_landmarks_and_one_main_heading(
    site: Site, running: int, read_page: Callable[[str], Any]
) -> None:
    client = sign_in(site)
    for path in ("/", JOBS, f"/monitoring/job/{running}", "/nothing"):
        page = read_page(client.get(path).text)
        assert len(page.all("main")) == 1
        assert len(page.all("h1")) == 1
        assert page.all("a", class_="skip")[0].attributes["href"] == "#main"
        assert page.all("html", lang="en")
        ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
        assert len(ids) == len(set(ids))


def test_every_field_has_a_label(site: Site, read_page: Callable[[str], Any]) -> None:
    for answer in (site.client.get("/login"), sign_in(site).get(JOBS)):
        page = read_page(answer.text)
        labelled = {label.attributes.get("for") for label in page.all("label")}
        for field in page.all("input") + page.all("select"):
            if field.attributes.get("type") in ("hidden", "checkbox") or "id" not in field.attributes:
                continue
            assert field.attributes["id"] in labelled


def test_every_link_of_a_page_leads_somewhere(site: Site, running: int, read_page: Callable[[str], Any]) -> None:
    client = sign_in(site)
    seen: set[str] = set()
    for path in ("/", JOBS, f"/monitoring/job/{running}"):
        page = read_page(client.get(path).text)
        ids = {element.attributes.get("id") for element in page.elements}
        for link in page.all("a"):
            href = link.attributes.get("href", "")
            if href.startswith("#"):
                assert href[1:] in ids, href
            elif href:
                seen.add(href.partition("#")[0])
    assert {href: client.get(href).status_code for href in seen if client.get(href).status_code not in (200, 303)} == {}


def test_an_unknown_address_is_a_page_with_a_way_out(site: Site) -> None:
    answer = sign_in(site).get("/nothing/here")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert f'href="{JOBS}"' in answer.text


def test_what_nobody_expected_shows_a_number_and_no_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = sign_in(site)
    site.client.application.testing = False

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(site.services.job_queries, "find", fail)
    answer = client.get(JOBS)
    number = re.search(r"Request (\w+)", answer.text)
    assert answer.status_code == 500
    assert "secret inside" not in answer.text
    assert number is not None
    assert number[1] in caplog.text


def test_a_damaged_archive_file_costs_the_curves_and_not_the_page(site: Site, running: int) -> None:
    site.stop_job()
    job = site.services.job_queries.get(running, RowRule(all_jobs=True), now_s=int(site.clock()))
    site.services.archive_queue.finish(job)
    answer = sign_in(site).get(f"/monitoring/job/{running}")
    assert answer.status_code == 200
    assert "cannot be read just now" in answer.text
    assert site.client.get(JOBS).status_code == 200


@pytest.mark.parametrize("folder", ["", "tern", "tern/88"], ids=["all of it", "a cluster", "a thousand jobs"])
def test_an_archive_that_is_away_costs_the_curves_and_not_the_pages(site: Any, folder: str) -> None:
    id_ = site.archived_job(jobId=88_001)
    lost: Path = site.services.archive.root / folder
    lost.rename(site.services.archive.root.with_name("away"))
    page = sign_in(site).get(f"/monitoring/job/{id_}")
    assert (page.status_code, "cannot be read just now" in page.text) == (200, True)
    assert site.client.get(JOBS).status_code == 200
    assert site.client.get("/").status_code == 200


def test_restricted_metrics_are_for_staff(site_of: Callable[..., Site], tarn_json: dict[str, Any]) -> None:
    next(metric for metric in tarn_json["metricConfig"] if metric["name"] == "cpu_power")["restrict"] = True
    site = site_of(clusters=[tarn_json])
    nodes = {"cluster": "tarn", "subCluster": "main", "resources": [{"hostname": "tn0001"}], "numHwthreads": 96}
    id_ = site.start_job(**nodes)
    site.user("mlindqv", password=PASSWORD)
    site.user("hbrandt", "support", password=PASSWORD)
    seen: dict[str, bool] = {}
    for name in ("mlindqv", "hbrandt"):
        client = site.client.application.test_client()
        client.post("/login", data={"username": name, "password": PASSWORD})
        seen[name] = "CPU power" in client.get(f"/monitoring/job/{id_}").text
    assert seen == {"mlindqv": False, "hbrandt": True}


class TestShortJobs:
    def links(self, site_of: Any, read_page: Callable[[str], Any], path: str = JOBS, **main: Any) -> dict[str, str]:
        site = site_of(settings={"main": main})
        if site.services.users.find("hbrandt") is None:
            sign_in(site)
        page = read_page(site.client.get(path).text)
        return {
            a.text.replace(NO_BREAK, " "): a.attributes["href"]
            for a in page.all("a")
            if "short jobs" in a.text.casefold()
        }

    def test_the_list_can_show_them_alone_or_leave_them_out(
        self, site_of: Any, read_page: Callable[[str], Any]
    ) -> None:
        links = self.links(
            site_of, read_page, f"{JOBS}?cluster=tern&duration=1h-2h", **{"short-running-jobs-duration": 240}
        )
        assert links == {
            "Short jobs only, under 4 min": f"{JOBS}?duration=lessthan-239&cluster=tern",
            "Without short jobs": f"{JOBS}?duration=morethan-240&cluster=tern",
        }

    def test_nobody_is_asked_where_no_job_counts_as_short(self, site_of: Any, read_page: Callable[[str], Any]) -> None:
        assert self.links(site_of, read_page, **{"short-running-jobs-duration": 0}) == {}

    def test_the_two_lists_have_each_job_once(self, site: Site) -> None:
        for job_id, ran_s in ((1, 299), (2, 300), (3, 301)):
            site.start_job(jobId=job_id)
            site.clock.advance(ran_s)
            site.stop_job(job_id=job_id)
        client = sign_in(site)
        short, others = (client.get(f"{JOBS}?duration={span}").text for span in ("lessthan-299", "morethan-300"))
        assert [f">1{NO_BREAK}job<" in page for page in (short, others)] == [True, False]
        assert f">2{NO_BREAK}jobs<" in others
