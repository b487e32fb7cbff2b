"""Address of the client of a request, also behind proxies."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cc_common.errors import SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class NetworkSet:
    """A set of IP addresses, given as addresses and networks."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, setting: str, texts: Sequence[str]) -> "NetworkSet":
        """The set that a list in the settings names, such as `10.0.0.0/8` or `::1`.

        Raises:
            SettingsError: an entry is neither address nor network.
        """
        networks = []
        for text in texts:
            try:
                networks.append(ipaddress.ip_network(text.strip(), strict=False))
            except ValueError as error:
                raise SettingsError(setting, f"'{text}' is neither an address nor a network") from error
        return cls(tuple(networks))

    def __contains__(self, text: object) -> bool:
        address = _parse_address(text) if isinstance(text, str) else None
        return address is not None and any(
            address.version == network.version and address in network for network in self.networks
        )


def client_address(peer: str, forwarded_for: Sequence[str], trusted: NetworkSet) -> str:
    """The address of the client: the peer, or behind trusted proxies the last hop that is not a trusted proxy.

    `forwarded_for` are the X-Forwarded-For headers in order; each hop appends the address of its client, so the list
    is read from its end, and everything before the first untrusted hop may be forged.
    """
    address = peer
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    while hops and address in trusted:
        hop = _parse_address(hops.pop())
        if hop is None:
            break
        address = str(hop)
    return address


def is_forwarded_https(peer: str, forwarded_proto: str, trusted: NetworkSet) -> bool:
    """Whether a trusted proxy reports that its client used HTTPS."""
    return peer in trusted and forwarded_proto.rsplit(",", maxsplit=1)[-1].strip().lower() == "https"


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may resolve to any address
        return False


def _parse_address(text: str) -> Address | None:
    """An IP address with optional port; None if the text is not one."""
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
