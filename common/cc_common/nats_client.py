"""Connections to NATS for programs without asyncio: a client of nats-py in an event loop with a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Dict, Optional, Tuple, TypeVar

from cc_common.errors import DeliveryError

if TYPE_CHECKING:
    from nats.aio.client import Client

T = TypeVar("T")

DEFAULT_PORT = 4222

_SUBJECT = re.compile(r"[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*")
_PATTERN = re.compile(r"([^\s.*>\x00-\x1f\x7f]+|\*)(\.([^\s.*>\x00-\x1f\x7f]+|\*))*(\.>)?|>")
_MAX_SUBJECT = 255
_SEED = re.compile(r"\s*(SU[A-Z2-7]{56})\s*")
_CLOSE_S = 2.0
_CLOSE_CLIENT_S = 0.5


@dataclass(frozen=True)
class NatsAccess:
    """Servers of NATS, and how a client identifies itself: by user and password, token or key file, or not at all.

    `servers` are host names, host:port, or addresses that begin with nats:// or tls://. `key_file` is a .creds file or
    has the seed of an nkey. `tls` demands an encrypted connection to a server with a trusted certificate; a CA
    file or an address with tls:// does, too.
    """

    servers: Tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    key_file: str = ""
    tls: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    certificate_key_file: str = ""

    @property
    def peer(self) -> str:
        """The servers for logs, without secrets."""
        return ",".join(self.addresses())

    @property
    def wants_tls(self) -> bool:
        """Whether the connection must be encrypted."""
        return self.tls or bool(self.ca_file) or any(server.startswith("tls://") for server in self.servers)

    def addresses(self) -> Tuple[str, ...]:
        """The addresses with scheme and port. Raises DeliveryError for one that is not usable."""
        scheme = "tls" if self.wants_tls else "nats"
        return tuple(_address(server.strip(), scheme) for server in self.servers)


def _address(server: str, scheme: str) -> str:
    match = re.fullmatch(r"(?:(?:nats|tls)://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", server)
    if match is None or not 0 < int(match.group(2) or DEFAULT_PORT) < 65536:  # noqa: PLR2004 ports have 16 bits
        raise DeliveryError(
            "address of NATS must be a host, or nats://host:port; user and password are keys of their own"
        )
    return f"{scheme}://{match.group(1)}:{match.group(2) or DEFAULT_PORT}"


def check_subject(subject: str, *, wildcards: bool = False) -> str:
    """The subject, if it is one; with `wildcards` a pattern of subjects, too. Raises DeliveryError."""
    if len(subject) > _MAX_SUBJECT or not (_PATTERN if wildcards else _SUBJECT).fullmatch(subject):
        kind = "a pattern such as hpc.*.metrics or hpc.>" if wildcards else "words with dots between them"
        raise DeliveryError(f"subject {subject[:80]!r} cannot be used: write {kind}")
    return subject


class LoopThread:
    """An event loop in a daemon thread, which starts with the first call of `run`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._thread: Optional[threading.Thread] = None

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """The result of a coroutine. Raises what it raises, and concurrent.futures.TimeoutError after `timeout_s`."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a coroutine that nobody waits for; `close` cancels it."""
        asyncio.run_coroutine_threadsafe(work, self._started())

    def close(self, last_work: Optional[Callable[[], Coroutine[Any, Any, None]]] = None) -> None:
        """Run a last coroutine for two seconds at most, cancel the others, and end the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        future = asyncio.run_coroutine_threadsafe(_end(last_work), loop)
        try:
            future.result(2 * _CLOSE_S)
        except Exception:  # noqa: BLE001 whatever goes wrong at the end, the loop ends
            future.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_S)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run_loop, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        return self._loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _end(last_work: Optional[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    try:
        if last_work is not None:
            await asyncio.wait_for(last_work(), _CLOSE_S)
    finally:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def check_installed(access: NatsAccess) -> None:
    """Check that the libraries are installed and the files readable. Raises DeliveryError with what to do."""
    for package in ("nats", "nkeys") if access.key_file else ("nats",):
        if importlib.util.find_spec(package) is None:
            raise DeliveryError(f"NATS needs the Python package {package}: install clustercockpit[nats]")
    access.addresses()
    _options(access)


def _options(access: NatsAccess) -> Dict[str, Any]:
    """Options of nats-py for the identity and encryption of a client. Raises DeliveryError."""
    from cc_common.delivery.http_sender import tls_context  # noqa: PLC0415 loads ssl

    options: Dict[str, Any] = {}
    if access.wants_tls:
        context = options["tls"] = tls_context(access.ca_file or None)
        if access.certificate_file:
            try:
                context.load_cert_chain(access.certificate_file, access.certificate_key_file or None)
            except OSError as error:
                raise DeliveryError(f"certificate {access.certificate_file} cannot be used: {error}") from error
    if access.key_file:
        try:
            text = Path(access.key_file).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise DeliveryError(f"key file {access.key_file} cannot be read: {error}") from error
        seed = _SEED.fullmatch(text)
        if seed:
            options["nkeys_seed_str"] = seed.group(1)
        elif "BEGIN NATS USER JWT" in text and "BEGIN USER NKEY SEED" in text:
            options["user_credentials"] = access.key_file
        else:
            raise DeliveryError(f"key file {access.key_file} is neither a .creds file nor the seed of a user's nkey")
    return options


async def connect(
    access: NatsAccess,
    *,
    name: str,
    timeout_s: float,
    reconnect: bool,
    on_error: Callable[[Exception], None],
    on_closed: Callable[[], None] = lambda: None,
) -> Client:
    """A connected client; with `reconnect` it connects again without end.

    `on_error` is called with what goes wrong later, such as a publication that the server forbids. Raises OSError,
    DeliveryError, asyncio.TimeoutError and the errors of nats-py.
    """
    from nats.aio.client import Client  # noqa: PLC0415 loaded only if something goes over NATS
    from nats.errors import SecureConnRequiredError  # noqa: PLC0415 same

    client = Client()

    def secret(text: str) -> Callable[[], str]:
        def give() -> str:
            # The server alone says whether a connection is encrypted: it must not get a password without.
            if access.wants_tls and not client._server_info.get("tls_required"):  # noqa: SLF001 there is no other way
                raise SecureConnRequiredError
            return text

        return give

    async def error_callback(error: Exception) -> None:
        on_error(error)

    async def closed_callback() -> None:
        on_closed()

    options = _options(access)
    if access.token:
        options["token"] = secret(access.token)
    elif access.user:
        options.update(user=secret(access.user), password=secret(access.password))
    try:
        await asyncio.wait_for(
            client.connect(
                list(access.addresses()),
                name=name,
                connect_timeout=max(1, int(timeout_s)),
                allow_reconnect=reconnect,
                max_reconnect_attempts=-1 if reconnect else 1,
                reconnect_time_wait=1 if reconnect else 0,
                ping_interval=30,
                error_cb=error_callback,
                closed_cb=closed_callback,
                **options,
            ),
            timeout_s,
        )
        if access.wants_tls and not client._server_info.get("tls_required"):  # noqa: SLF001 there is no other way
            raise SecureConnRequiredError  # noqa: TRY301 closed below like any other failure
    except BaseException:
        await close_client(client)  # a client that did not connect leaves its socket open
        raise
    return client


async def close_client(client: Client) -> None:
    """Close a client, within half a second: without a finished TLS handshake nats-py waits for its end for ever."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(client.close(), _CLOSE_CLIENT_S)
