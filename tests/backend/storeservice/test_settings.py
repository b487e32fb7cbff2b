import json
from pathlib import Path
from typing import Any

import pytest

from cc_backend.metricstore import MetricSpec
from cc_backend.storeservice.app import check_settings
from cc_backend.storeservice.metric_table import metric_table
from cc_backend.storeservice.settings import StoreServiceSettings, load_settings
from cc_common.errors import SettingsError
from cc_common.settings import LoadedSettings, format_settings

METRICS = {"load_one": {"frequency": 60, "aggregation": "avg"}}


def load(tmp_path: Path, document: dict[str, Any], **environment: str) -> LoadedSettings[StoreServiceSettings]:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document), "utf-8")
    return load_settings(path, environment=environment)


def test_a_current_configuration_of_the_reference_loads(tmp_path: Path) -> None:
    document = {
        "main": {
            "addr": "0.0.0.0:8082",
            "jwt-public-key": "kzfY",
            "backend-url": "https://cc",
            "user": "cc",
            "debug": {},
        },
        "metrics": {
            "clock": {"frequency": 10, "aggregation": "avg"},
            "mem_used": {"frequency": 60, "aggregation": None},
        },
        "metric-store": {
            "checkpoints": {"file-format": "wal", "directory": "./var/checkpoints", "max-wal-size": 1},
            "memory-cap": 100,
            "retention-in-memory": "48h",
            "num-workers": 4,
            "cleanup": {"mode": "archive", "directory": "./var/archive"},
            "nats-subscriptions": [{"subscribe-to": "hpc", "cluster-tag": "fritz"}],
        },
        "nats": {"address": "nats://0.0.0.0:4222"},
    }
    loaded = load(tmp_path, document)
    assert loaded.value.main.addr == "0.0.0.0:8082"
    assert loaded.value.metric_store.memory_cap_gb == 100
    assert metric_table(loaded.value)["any"] == {"clock": MetricSpec(10, "avg"), "mem_used": MetricSpec(60, "")}
    for key in ("main.user", "nats", "metric-store.checkpoints", "metric-store.nats-subscriptions"):
        assert any(f" {key}:" in warning for warning in loaded.warnings), key


def test_the_older_layout_is_moved_where_it_belongs(tmp_path: Path, shared_fixtures: Path) -> None:
    document = json.loads((shared_fixtures / "metric-store" / "config.json").read_text("utf-8"))
    loaded = load(tmp_path, document)
    assert len(loaded.value.metrics) == len(document["metrics"]) == 40
    assert loaded.value.main.addr == "0.0.0.0:8082"
    assert loaded.value.main.jwt_public_key == "XZY"
    assert loaded.value.metric_store.retention_in_memory_s == 48 * 3600
    for key in ("checkpoints", "archive", "http-api.address", "jwt-public-key", "retention-in-memory"):
        assert any(f" {key}:" in warning for warning in loaded.warnings), key
    with pytest.raises(SettingsError, match=r"jwt-public-key.*base64"):
        check_settings(loaded.value)


def test_what_stands_at_both_places_counts_where_it_belongs(tmp_path: Path) -> None:
    document = {"jwt-public-key": "old", "main": {"jwt-public-key": "new"}, "metrics": METRICS}
    assert load(tmp_path, document).value.main.jwt_public_key == "new"


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"main": {"adr": "x:1"}}, "main.adr"),
        ({"metrics": {"clock": {"frequency": 0, "aggregation": "sum"}}}, "metrics.clock.frequency"),
        ({"metrics": {"clock": {"aggregation": "sum"}}}, "metrics.clock.frequency"),
        ({"metrics": {"clock": {"frequency": 60, "aggregation": "max"}}}, "metrics.clock.aggregation"),
        ({"metric-store": {"checkpoint": {}}}, "metric-store.checkpoint"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path: Path, document: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, document)
    assert caught.value.key == key


@pytest.mark.parametrize(
    "addr",
    ["0.0.0.0:8082", ":8082", "10.1.2.3:8082", "store.example.org:8082", "[::1:2]:8082", "127.store.example.org:8082"],
)
def test_without_a_key_it_does_not_listen_where_others_are(tmp_path: Path, addr: str) -> None:
    with pytest.raises(SettingsError, match="open-to-all"):
        check_settings(load(tmp_path, {"main": {"addr": addr}, "metrics": METRICS}).value)
    check_settings(load(tmp_path, {"main": {"addr": addr, "open-to-all": True}, "metrics": METRICS}).value)


@pytest.mark.parametrize("addr", ["localhost:8082", "127.0.0.1:1", "[::1]:8082"])
def test_without_a_key_it_serves_this_machine(tmp_path: Path, addr: str) -> None:
    check_settings(load(tmp_path, {"main": {"addr": addr}, "metrics": METRICS}).value)


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"main": {}, "metrics": {}}, "metrics"),
        ({"main": {"addr": "nowhere"}, "metrics": METRICS}, "main.addr"),
        ({"main": {"backend-url": "ftp://x"}, "metrics": METRICS}, "main.backend-url"),
        ({"main": {"jwt-public-key": "AAAA"}, "metrics": METRICS}, "main.jwt-public-key"),
    ],
)
def test_what_cannot_be_served_is_said_before_the_start(tmp_path: Path, document: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_settings(load(tmp_path, document).value)
    assert caught.value.key == key


def test_the_backends_token_is_never_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"main": {"backend-token": "top-secret", "jwt-public-key": "pub"}, "metrics": METRICS})
    assert "top-secret" not in format_settings(loaded)
    assert 'metrics.load_one.aggregation = "avg"' in format_settings(loaded)


def test_named_clusters_are_the_only_ones(tmp_path: Path) -> None:
    table = metric_table(load(tmp_path, {"main": {"clusters": ["orion"]}, "metrics": METRICS}).value)
    assert list(table) == ["orion"]
    assert "heron" not in table
