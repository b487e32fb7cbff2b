"""How the agent reaches NATS: settings that sinks and receivers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cc_agent.addresses import server_addresses
from cc_common.errors import SettingsError
from cc_common.settings import option

if TYPE_CHECKING:
    from cc_common.nats_client import NatsAccess


@dataclass(frozen=True)
class NatsIdentity:
    """How a client of NATS identifies itself, and whether its connection is encrypted."""

    user: str = option("", "user name")
    password: str = option("", "password that belongs to the user name", secret=True)
    token: str = option("", "token, for servers that want one instead of a user", secret=True)
    nkey_file: str = option("", "a .creds file, or a file with the seed of an nkey", key="nkey_file", kind="path")
    tls: bool = option(
        False, "demand an encrypted connection and a trusted certificate; so does a CA file or an address with tls://"
    )
    ca_file: str = option("", "certificates to trust instead of the system's", key="ca_file", kind="path")
    cert_file: str = option("", "certificate of this client", key="cert_file", kind="path")
    cert_key_file: str = option("", "key of the certificate of this client", key="cert_key_file", kind="path")

    def __post_init__(self) -> None:
        """Check that user name and password come together, and that there is one identity."""
        if bool(self.user) != bool(self.password):
            raise SettingsError("user", "and 'password' must be given together")
        given = [name for name in ("user", "token", "nkey_file") if getattr(self, name)]
        if len(given) > 1:
            raise SettingsError(given[1], f"and {given[0]!r} are both given; keep one")

    def access(self, servers: str, port: int) -> NatsAccess:
        """The servers, separated by commas, with this identity; `port` is that of servers without one."""
        from cc_common.nats_client import NatsAccess  # noqa: PLC0415 loads asyncio

        return NatsAccess(
            server_addresses(servers, port),
            user=self.user,
            password=self.password,
            token=self.token,
            key_file=self.nkey_file,
            tls=self.tls,
            ca_file=self.ca_file,
            certificate_file=self.cert_file,
            certificate_key_file=self.cert_key_file,
        )
