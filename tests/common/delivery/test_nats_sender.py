"""The NATS sender against a real server: what is acknowledged, and what a lost server costs."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from cc_common.delivery import DeliveryOutcome, DeliveryWorker, Outbox, OutcomeKind
from cc_common.delivery.nats_sender import NatsSender, failure_outcome
from cc_common.errors import DeliveryError
from cc_common.nats_client import NatsAccess, check_subject

BATCH = b"load,hostname=n1,type=node value=1 17\n"


def send_once(access: NatsAccess, subject: str = "hpc.metrics", **options: Any) -> DeliveryOutcome:
    sender = NatsSender(access, subject, timeout_s=5, **options)
    try:
        return sender.send(BATCH)
    finally:
        sender.close()


@pytest.fixture
def server(nats_servers: Any, tmp_path: Path) -> Iterator[Any]:
    with nats_servers.running_server(tmp_path) as running:
        yield running


def test_a_batch_is_published_on_its_subject_and_delivered(server: Any, nats_listener: Any) -> None:
    with nats_listener(server.address) as listener:
        sender = NatsSender(NatsAccess((server.address,)), "hpc.metrics", timeout_s=5)
        outcomes = [sender.send(BATCH), sender.send(BATCH)]
        sender.close()
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.DELIVERED] * 2
        assert listener.sees() == [BATCH, BATCH]


def test_a_sender_that_was_closed_opens_again(server: Any) -> None:
    sender = NatsSender(NatsAccess((server.address,)), "hpc.metrics", timeout_s=5)
    assert sender.send(BATCH).kind is OutcomeKind.DELIVERED
    sender.close()
    assert sender.send(BATCH).kind is OutcomeKind.DELIVERED
    sender.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("nats ")] == []


def test_a_batch_that_the_server_does_not_take_is_split(nats_servers: Any, nats_listener: Any, tmp_path: Path) -> None:
    with nats_servers.running_server(tmp_path, "max_payload: 2048") as small, nats_listener(small.address) as listener:
        outbox = Outbox()
        worker = DeliveryWorker(outbox, NatsSender(NatsAccess((small.address,)), "m", timeout_s=5))
        worker.start()
        worker.put(BATCH * 200)
        assert worker.stop(10)
        assert b"".join(listener.sees()) == BATCH * 200


def test_an_absent_server_is_an_outcome_and_not_an_exception() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = send_once(NatsAccess((f"127.0.0.1:{unused.getsockname()[1]}",)))
    assert outcome.kind is OutcomeKind.RETRY
    assert "ConnectionRefused" in outcome.message


def test_of_several_servers_one_that_runs_is_found(server: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{unused.getsockname()[1]}"
        assert send_once(NatsAccess((dead, server.address))).kind is OutcomeKind.DELIVERED


def test_a_peer_that_never_answers_is_abandoned() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = NatsSender(NatsAccess((f"127.0.0.1:{silent.getsockname()[1]}",)), "m", timeout_s=0.3)
        outcome = sender.send(BATCH)
        sender.close()
    assert outcome.kind is OutcomeKind.RETRY


def test_a_peer_that_takes_the_batch_but_does_not_answer_the_ping_is_no_delivery() -> None:
    with socket.create_server(("127.0.0.1", 0)) as half:

        def serve() -> None:
            connection, _ = half.accept()
            with connection:
                connection.sendall(b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576}\r\n')
                received = b""
                while b"PING" not in received:
                    received += connection.recv(4096)
                connection.sendall(b"PONG\r\n")
                while b"value=1" not in received:
                    received += connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        started_s = time.monotonic()
        outcome = send_once(NatsAccess((f"127.0.0.1:{half.getsockname()[1]}",)))
        thread.join()
    assert outcome.kind is OutcomeKind.RETRY
    assert time.monotonic() - started_s < 4  # the end of the connection ends the wait


AUTHORISATION = """
authorization {
  users: [
    {user: "agent", password: "right", permissions: {publish: ["hpc.metrics", "_INBOX.>", "$JS.API.>"], subscribe: ">"}}
  ]
}
"""


@pytest.mark.parametrize(
    ("access", "subject", "kind"),
    [
        ({"user": "agent", "password": "right"}, "hpc.metrics", OutcomeKind.DELIVERED),
        ({"user": "agent", "password": "wrong"}, "hpc.metrics", OutcomeKind.UNAUTHORISED),
        ({}, "hpc.metrics", OutcomeKind.UNAUTHORISED),
        ({"token": "none"}, "hpc.metrics", OutcomeKind.UNAUTHORISED),
        ({"user": "agent", "password": "right"}, "hpc.events", OutcomeKind.UNAUTHORISED),
    ],
)
def test_the_operator_is_called_if_the_user_or_the_subject_is_not_allowed(
    nats_servers: Any, tmp_path: Path, access: Any, subject: str, kind: OutcomeKind
) -> None:
    with nats_servers.running_server(tmp_path, AUTHORISATION) as guarded:
        outcome = send_once(NatsAccess((guarded.address,), **access), subject)
    assert outcome.kind is kind
    assert outcome.needs_operator is (kind is OutcomeKind.UNAUTHORISED)
    assert "right" not in outcome.message


def test_a_token_is_sent(nats_servers: Any, tmp_path: Path) -> None:
    with nats_servers.running_server(tmp_path, 'authorization { token: "s3cr3t" }') as guarded:
        assert send_once(NatsAccess((guarded.address,), token="s3cr3t")).kind is OutcomeKind.DELIVERED


def nkey_pair() -> Tuple[str, str]:
    """Seed and public key of a new user."""
    nkeys = pytest.importorskip("nkeys", reason="nkeys is not installed")
    seed = nkeys.encode_seed(b"x" * 32, nkeys.PREFIX_BYTE_USER)
    pair = nkeys.from_seed(bytearray(seed))
    return bytes(seed).decode(), bytes(pair.public_key).decode()


def test_the_seed_of_an_nkey_identifies_a_user(nats_servers: Any, tmp_path: Path) -> None:
    seed, public = nkey_pair()
    key_file = tmp_path / "agent.nk"
    key_file.write_text(seed + "\n")
    with nats_servers.running_server(tmp_path, f"authorization {{ users: [{{nkey: {public}}}] }}") as guarded:
        assert send_once(NatsAccess((guarded.address,), key_file=str(key_file))).kind is OutcomeKind.DELIVERED
        assert send_once(NatsAccess((guarded.address,))).kind is OutcomeKind.UNAUTHORISED


def signed_jwt(signer: Any, subject: str, claims: Dict[str, Any]) -> str:
    """A token as NATS has them: about `subject`, signed by an nkey."""

    def encoded(part: Any) -> str:
        raw = part if isinstance(part, bytes) else json.dumps(part).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    issuer = bytes(signer.public_key).decode()
    body = {"jti": "x", "iat": 1_700_000_000, "iss": issuer, "sub": subject, "name": "x", "nats": claims}
    text = encoded({"typ": "JWT", "alg": "ed25519-nkey"}) + "." + encoded(body)
    return text + "." + encoded(bytes(signer.sign(text.encode())))


def test_a_creds_file_identifies_a_user_of_an_operator(nats_servers: Any, tmp_path: Path) -> None:
    nkeys = pytest.importorskip("nkeys", reason="nkeys is not installed")
    prefixes = (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    seeds = [bytes(nkeys.encode_seed(bytes([number]) * 32, prefix)) for number, prefix in enumerate(prefixes, 1)]
    operator, account, user = (nkeys.from_seed(bytearray(seed)) for seed in seeds)
    names = [bytes(pair.public_key).decode() for pair in (operator, account, user)]
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    operator_jwt = signed_jwt(operator, names[0], {"type": "operator", "version": 2})
    account_jwt = signed_jwt(
        operator, names[1], {"type": "account", "version": 2, "limits": {**limits, "wildcards": True}}
    )
    user_claims = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}}
    key_file = tmp_path / "agent.creds"
    key_file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{signed_jwt(account, names[2], user_claims)}\n------END NATS USER JWT------\n"
        f"-----BEGIN USER NKEY SEED-----\n{seeds[2].decode()}\n------END USER NKEY SEED------\n"
    )
    configuration = f"operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {names[1]}: {account_jwt} }}"
    with nats_servers.running_server(tmp_path, configuration) as guarded:
        assert send_once(NatsAccess((guarded.address,), key_file=str(key_file))).kind is OutcomeKind.DELIVERED
        assert send_once(NatsAccess((guarded.address,))).kind is OutcomeKind.UNAUTHORISED


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem for 127.0.0.1 and localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *(
                "-keyout",
                str(folder / "key.pem"),
                "-out",
                str(folder / "cert.pem"),
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_certificates_are_verified(nats_servers: Any, tmp_path: Path, certificate: Path) -> None:
    tls = f'tls {{ cert_file: "{certificate}/cert.pem", key_file: "{certificate}/key.pem" }}'
    with nats_servers.running_server(tmp_path, tls) as encrypted:
        trusted = NatsAccess((encrypted.address,), ca_file=str(certificate / "cert.pem"))
        assert send_once(trusted).kind is OutcomeKind.DELIVERED
        outcome = send_once(NatsAccess((encrypted.address,), tls=True))
    assert (outcome.kind, outcome.needs_operator) == (OutcomeKind.RETRY, True)
    assert "its certificate is not trusted" in outcome.message


def test_no_password_is_sent_to_a_server_without_the_tls_that_is_demanded() -> None:
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.sendall(
                    b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576,"auth_required":true}\r\n'
                )
                connection.settimeout(2)
                try:
                    while piece := connection.recv(4096):
                        received.extend(piece)
                except TimeoutError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        access = NatsAccess((f"127.0.0.1:{plain.getsockname()[1]}",), user="agent", password="s3cr3t", tls=True)
        outcome = send_once(access)
        thread.join()
    assert (outcome.kind, outcome.needs_operator) == (OutcomeKind.RETRY, True)
    assert b"s3cr3t" not in received
    assert b"value=1" not in received


STREAM = 'jetstream {{ store_dir: "{folder}/js" }}'


def run(work: Any) -> Any:
    """The result of a coroutine, in a thread of its own: tests of pages leave a running loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def make_stream(address: str, subject: str = "hpc.metrics") -> None:
    async def make() -> None:
        nats = importlib.import_module("nats")
        client = await nats.connect(address)
        await client.jetstream().add_stream(name="METRICS", subjects=[subject])
        await client.close()

    run(make())


def stream_content(address: str) -> List[bytes]:
    async def read() -> List[bytes]:
        nats = importlib.import_module("nats")
        client = await nats.connect(address)
        js = client.jetstream()
        count = (await js.stream_info("METRICS")).state.messages
        found = [(await js.get_msg("METRICS", number + 1)).data or b"" for number in range(count)]
        await client.close()
        return found

    return run(read())


def test_a_stream_stores_each_batch_once_however_often_it_is_sent(nats_servers: Any, tmp_path: Path) -> None:
    with nats_servers.running_server(tmp_path, STREAM.format(folder=tmp_path)) as server:
        make_stream(server.address)
        sender = NatsSender(NatsAccess((server.address,)), "hpc.metrics", jetstream=True, timeout_s=5)
        kinds = [sender.send(batch).kind for batch in (BATCH, BATCH, b"other" + BATCH)]
        sender.close()
        assert kinds == [OutcomeKind.DELIVERED] * 3
        assert stream_content(server.address) == [BATCH, b"other" + BATCH]


def test_a_subject_that_no_stream_takes_is_kept_and_the_operator_called(server: Any) -> None:
    outcome = send_once(NatsAccess((server.address,)), jetstream=True)
    assert (outcome.kind, outcome.needs_operator) == (OutcomeKind.RETRY, True)
    assert "no stream" in outcome.message


@pytest.mark.faults
def test_a_killed_server_costs_no_batch_of_a_stream(nats_servers: Any, tmp_path: Path) -> None:
    batches = [b"load,hostname=n%d value=1 17\n" % number for number in range(300)]
    with nats_servers.running_server(tmp_path, STREAM.format(folder=tmp_path)) as server:
        make_stream(server.address)
        outbox = Outbox()
        worker = DeliveryWorker(
            outbox, NatsSender(NatsAccess((server.address,)), "hpc.metrics", jetstream=True, timeout_s=2)
        )
        worker.start()
        for number, batch in enumerate(batches):
            worker.put(batch)
            if number in (100, 200):
                while len(outbox) > 50:
                    time.sleep(0.001)
                server.kill()
                server.start()
        deadline_s = time.monotonic() + 30
        while not worker.flush(5) and time.monotonic() < deadline_s:
            pass
        worker.stop(5)
        assert len(outbox) == 0
        assert outbox.stats().dropped == 0
        content = stream_content(server.address)
    assert list(dict.fromkeys(content)) == batches


@pytest.mark.faults
def test_with_a_killed_server_nothing_counts_as_delivered_that_it_did_not_confirm(
    nats_servers: Any, nats_listener: Any, tmp_path: Path
) -> None:
    with nats_servers.running_server(tmp_path) as server:
        sender = NatsSender(NatsAccess((server.address,)), "hpc.metrics", timeout_s=2)
        assert sender.send(BATCH).kind is OutcomeKind.DELIVERED
        server.kill()
        assert sender.send(BATCH).kind is OutcomeKind.RETRY
        server.start()
        with nats_listener(server.address) as listener:
            assert sender.send(b"after\n").kind is OutcomeKind.DELIVERED
            assert listener.sees() == [b"after\n"]  # nothing waited inside of the client
        sender.close()


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("host", "nats://host:4222"),
        ("host:5", "nats://host:5"),
        ("nats://host", "nats://host:4222"),
        ("tls://host", "tls://host:4222"),
        ("[::1]:7", "nats://[::1]:7"),
    ],
)
def test_addresses_get_scheme_and_port(server: str, address: str) -> None:
    assert NatsAccess((server,)).peer == address


@pytest.mark.parametrize(
    "server", ["", "user:pw@host", "nats://user:pw@host", "http://host", "host:0", "host:99999", "a b"]
)
def test_an_address_that_is_not_usable_is_rejected_at_once_without_repeating_it(server: str) -> None:
    with pytest.raises(DeliveryError, match="address of NATS must be") as caught:
        NatsSender(NatsAccess((server,)), "m")
    assert "pw" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize("subject", ["", "a b", "a..b", ".a", "a.", "a.*", "a.>", ">", "a\r\nPUB x 0", "x" * 256])
def test_a_subject_that_would_break_the_protocol_is_rejected(subject: str) -> None:
    with pytest.raises(DeliveryError, match="subject"):
        NatsSender(NatsAccess(("host",)), subject)


@pytest.mark.parametrize("subject", ["a.*.b", "a.>", ">", "*", "a.b"])
def test_patterns_are_for_those_who_listen(subject: str) -> None:
    assert check_subject(subject, wildcards=True) == subject


@pytest.mark.parametrize("subject", ["a.>.b", "a*", "a>", "", "a b.>"])
def test_a_pattern_that_is_none_is_rejected(subject: str) -> None:
    with pytest.raises(DeliveryError, match="pattern"):
        check_subject(subject, wildcards=True)


@pytest.mark.parametrize("content", ["", "SUAAA", "nonsense"])
def test_a_key_file_that_is_none_is_rejected_at_once(tmp_path: Path, content: str) -> None:
    key_file = tmp_path / "agent.creds"
    key_file.write_text(content)
    with pytest.raises(DeliveryError, match=r"agent\.creds is neither"):
        NatsSender(NatsAccess(("host",), key_file=str(key_file)), "m")
    with pytest.raises(DeliveryError, match="cannot be read"):
        NatsSender(NatsAccess(("host",), key_file=str(tmp_path / "none")), "m")


def test_every_other_error_keeps_the_batch() -> None:
    assert failure_outcome([ValueError("x")]) == DeliveryOutcome(OutcomeKind.RETRY, "not sent (ValueError: x)")
