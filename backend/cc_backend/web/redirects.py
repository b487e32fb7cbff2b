"""Makes addresses from requests safe to redirect to."""

from urllib.parse import urlsplit

HOME = "/"
_LONGEST = 2000


def safe_redirect_path(address: str | None) -> str:
    r"""The address if it is a plain path on this server, else the start page.

    A browser reads `//host`, `/\host` and a path with a tab or a line break in it as another host's address, so only
    a single slash followed by printable characters passes.
    """
    if not address or len(address) > _LONGEST or not address.startswith("/"):
        return HOME
    if address[1:2] in ("/", "\\") or "\\" in address or not address.isascii() or not address.isprintable():
        return HOME
    try:
        parts = urlsplit(address)
    except ValueError:
        return HOME
    if parts.scheme or parts.netloc or parts.path.startswith("//"):
        return HOME
    return HOME if parts.path.rstrip("/") in ("/login", "/logout") else address
