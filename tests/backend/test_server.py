import pytest

from cc_backend.server import listen_address
from cc_common.errors import SettingsError


@pytest.mark.parametrize(
    ("addr", "expected"),
    [
        ("localhost:8080", ("127.0.0.1", 8080)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        (":8080", ("0.0.0.0", 8080)),
        ("[::1]:8080", ("::1", 8080)),
        ("monitoring.example.org:443", ("monitoring.example.org", 443)),
    ],
)
def test_an_address_is_a_host_and_a_port(addr: str, expected: tuple[str, int]) -> None:
    assert listen_address(addr) == expected


@pytest.mark.parametrize(
    "addr", ["", "localhost", "localhost:", "localhost:0", "localhost:70000", "localhost:http", "[::1:80"]
)
def test_an_address_without_a_usable_port_is_refused(addr: str) -> None:
    with pytest.raises(SettingsError, match="port"):
        listen_address(addr)
