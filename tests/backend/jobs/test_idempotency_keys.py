from collections.abc import Callable

import pytest

from cc_backend.auth.caller import Caller
from cc_backend.db.database import Database
from cc_backend.errors import Conflict, InvalidInput
from cc_backend.jobs.idempotency_keys import KEPT_S, IdempotencyKeys, StoredResponse, keyed_request

NOW_S = 1_760_000_000
SERVICE = Caller("adapter", frozenset({"api"}))


@pytest.fixture
def keys(database: Database) -> IdempotencyKeys:
    return IdempotencyKeys(database)


@pytest.fixture
def answers() -> Callable[[], StoredResponse]:
    """Makes another answer at each call."""
    made: list[StoredResponse] = []

    def answer() -> StoredResponse:
        made.append(StoredResponse(201, b'{"id":%d}' % len(made)))
        return made[-1]

    return answer


def test_the_same_request_has_the_same_answer(keys: IdempotencyKeys, answers: Callable[[], StoredResponse]) -> None:
    request = keyed_request(SERVICE, "k", "/start", b"{}")
    first = keys.respond_once(request, NOW_S, answers)
    assert first == StoredResponse(201, b'{"id":0}')
    assert keys.respond_once(request, NOW_S + KEPT_S - 1, answers) == first


def test_after_a_day_it_is_done_again(keys: IdempotencyKeys, answers: Callable[[], StoredResponse]) -> None:
    request = keyed_request(SERVICE, "k", "/start", b"{}")
    keys.respond_once(request, NOW_S, answers)
    assert keys.respond_once(request, NOW_S + KEPT_S, answers).body == b'{"id":1}'
    assert keys.respond_once(request, NOW_S + KEPT_S, answers).body == b'{"id":1}'


@pytest.mark.parametrize(("path", "body"), [("/start", b"{ }"), ("/stop", b"{}")])
def test_another_request_with_the_same_key_is_a_conflict(
    keys: IdempotencyKeys, answers: Callable[[], StoredResponse], path: str, body: bytes
) -> None:
    keys.respond_once(keyed_request(SERVICE, "k", "/start", b"{}"), NOW_S, answers)
    with pytest.raises(Conflict) as caught:
        keys.respond_once(keyed_request(SERVICE, "k", path, body), NOW_S, answers)
    assert caught.value.code == "idempotency_key_reused"


@pytest.mark.parametrize(
    "caller",
    [
        Caller("adapter2", frozenset({"api"})),
        Caller("adapter", frozenset({"api"}), allowed_clusters=("tern",)),
        Caller("adapter", frozenset({"api"}), kind="session"),
    ],
)
def test_a_key_of_another_caller_is_another_key(
    keys: IdempotencyKeys, answers: Callable[[], StoredResponse], caller: Caller
) -> None:
    keys.respond_once(keyed_request(SERVICE, "k", "/start", b"{}"), NOW_S, answers)
    other = keys.respond_once(keyed_request(caller, "k", "/start", b'{"another":1}'), NOW_S, answers)
    assert other.body == b'{"id":1}'


def test_names_and_keys_do_not_run_into_each_other() -> None:
    bound = [Caller("a", frozenset(), allowed_clusters=clusters) for clusters in (("b", "c"), ("b,c",), ("bc",))]
    plain = [Caller(name, frozenset()) for name in ("a", "ab", "abc")]
    hashes = {keyed_request(caller, key, "/p", b"").key_hash for caller in (*bound, *plain) for key in ("k", "bk", "c")}
    assert len(hashes) == len((*bound, *plain)) * 3


@pytest.mark.parametrize("key", ["", "k" * 256, "ä", "a\nb", "a\x00", "a\x7f"])
def test_an_unusable_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        keyed_request(SERVICE, key, "/start", b"")


def test_a_request_that_fails_is_decided_anew(keys: IdempotencyKeys, answers: Callable[[], StoredResponse]) -> None:
    request = keyed_request(SERVICE, "k", "/start", b"{}")

    def refuse() -> StoredResponse:
        raise Conflict("it runs already")

    for _ in range(2):
        with pytest.raises(Conflict, match="runs already"):
            keys.respond_once(request, NOW_S, refuse)
    assert keys.respond_once(request, NOW_S, answers).status == 201


def kept(database: Database) -> int:
    row = database.first_row("SELECT COUNT(*) FROM idempotency_key")
    assert row is not None
    return int(row[0])


def test_answers_of_yesterday_are_removed(
    keys: IdempotencyKeys, database: Database, answers: Callable[[], StoredResponse]
) -> None:
    for number in range(3):
        keys.respond_once(keyed_request(SERVICE, f"k{number}", "/p", b""), NOW_S + number, answers)
    keys.prune(NOW_S + KEPT_S + 1)
    assert kept(database) == 1


def test_the_oldest_go_first_when_there_are_too_many(keys: IdempotencyKeys, database: Database) -> None:
    for number in range(10):
        request = keyed_request(SERVICE, f"k{number}", "/p", b"")
        keys.respond_once(request, NOW_S + number, lambda: StoredResponse(200, b"x" * 900))
    keys.prune(NOW_S + 10, max_bytes=3500)
    assert kept(database) == 3
    newest = keyed_request(SERVICE, "k9", "/p", b"")
    assert keys.respond_once(newest, NOW_S + 10, lambda: StoredResponse(500, b"")).status == 200
