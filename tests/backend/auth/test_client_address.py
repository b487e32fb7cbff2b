import pytest

from cc_backend.auth.client_address import NetworkSet, client_address, is_forwarded_https
from cc_common.errors import SettingsError

TRUSTED = NetworkSet.parse("main.trusted-proxies", ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("10.200.3.4", True),
        ("::ffff:10.200.3.4", True),
        ("::1", True),
        ("fd00::5", True),
        ("10.1.1.1:443", True),
        ("[fd00::5]:443", True),
        ("192.0.2.1", False),
        ("::2", False),
        ("", False),
        ("unknown", False),
        ("10.0.0", False),
    ],
)
def test_an_address_belongs_to_the_networks_that_hold_it(address: str, *, expected: bool) -> None:
    assert (address in TRUSTED) is expected


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["1.1.1.1, 198.51.100.7, 10.0.0.9"], "198.51.100.7"),
        ("127.0.0.1", ["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        ("127.0.0.1", ["evil, 10.0.0.9"], "10.0.0.9"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7:5123"], "198.51.100.7"),
        ("127.0.0.1", ["[2001:db8::7]:5123"], "2001:db8::7"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_only_what_trusted_proxies_appended_is_believed(peer: str, forwarded_for: list[str], expected: str) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == expected


@pytest.mark.parametrize(
    ("peer", "proto", "expected"),
    [
        ("127.0.0.1", "https", True),
        ("127.0.0.1", "http, HTTPS", True),
        ("127.0.0.1", "https, http", False),
        ("127.0.0.1", "", False),
        ("192.0.2.1", "https", False),
    ],
)
def test_only_trusted_proxies_speak_for_the_scheme(peer: str, proto: str, *, expected: bool) -> None:
    assert is_forwarded_https(peer, proto, TRUSTED) is expected


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(SettingsError, match="is neither an address nor a network"):
        NetworkSet.parse("main.trusted-proxies", ["10.0.0.0/99"])
