"""A metric store of its own, with a key pair, in the test's folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt

from cc_backend.auth.signatures import ALGORITHM, EdDSAOnly
from cc_backend.auth.token_keys import TokenKeys
from cc_backend.services import EXTENSION
from cc_backend.storeservice.app import StoreServices, create_app
from cc_backend.storeservice.settings import LEGACY, StoreServiceSettings
from cc_common.settings import load

NOW_S = 1_760_000_400
METRICS = {
    "load_one": {"frequency": 60, "aggregation": None},
    "flops_any": {"frequency": 60, "aggregation": "sum"},
}


class StoreSite:
    """The store's application with its client, and tokens for it."""

    def __init__(self, app: Flask, keys: TokenKeys) -> None:
        self.app = app
        self.client = app.test_client()
        self.services: StoreServices = app.extensions[EXTENSION]
        self._keys = keys

    def bearer(self, **claims: Any) -> dict[str, str]:
        """Headers with a token of these claims, signed with the store's key."""
        token = jwt.encode({"alg": ALGORITHM}, claims, self._keys.private, registry=EdDSAOnly())  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {token}"}

    def service(self) -> dict[str, str]:
        """Headers with the token of a service, as the reference issues them."""
        return self.bearer(sub="agents", roles=["api"])


@pytest.fixture
def store_site(tmp_path: Path, clock: Any, token_keys: tuple[str, str]) -> Iterator[Callable[..., StoreSite]]:
    """Makes metric stores in the test's folder, or in one that is given; arguments are settings of `main` by key."""
    opened: list[StoreServices] = []

    def make(*, folder: str | None = None, **main: Any) -> StoreSite:
        document = {
            "main": {"jwt-public-key": token_keys[1], **{key.replace("_", "-"): value for key, value in main.items()}},
            "metrics": METRICS,
            "metric-store": {"wal": {"directory": folder or f"store{len(opened)}", "fsync": "never"}},
        }
        settings = load(StoreServiceSettings, document, source="test", base_directory=tmp_path, legacy=LEGACY).value
        app = create_app(settings, clock=clock, monotonic_clock=clock.steady)
        app.testing = True
        site = StoreSite(app, TokenKeys.from_base64(private=token_keys[0]))
        opened.append(site.services)
        return site

    yield make
    for services in opened:
        services.close()
