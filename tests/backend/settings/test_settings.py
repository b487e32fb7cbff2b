import json
from pathlib import Path
from typing import Any

import pytest

from cc_backend.settings import BackendSettings, load_settings
from cc_common.errors import SettingsError
from cc_common.settings import LoadedSettings, format_settings


def load(tmp_path: Path, document: dict[str, Any], **environment: str) -> LoadedSettings[BackendSettings]:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document), "utf-8")
    return load_settings(path, environment=environment)


def test_an_empty_file_gives_a_backend_that_keeps_all_under_its_own_folder(tmp_path: Path) -> None:
    settings = load(tmp_path, {}).value
    for path in (settings.main.db, settings.archive.path, settings.metric_store.wal.directory):
        assert Path(path).is_relative_to(tmp_path)


def test_a_configuration_of_the_reference_loads_with_warnings_for_what_has_no_use(tmp_path: Path) -> None:
    document = {
        "main": {
            "addr": "127.0.0.1:8090",
            "short-running-jobs-duration": 300,
            "enable-job-taggers": True,
            "resampling": {"minimum-points": 600, "trigger": 300, "resolutions": [240, 60]},
            "api-allowed-ips": ["*"],
            "db-config": {"cache-size-mb": 128, "max-open-connections": 4},
        },
        "auth": {"jwts": {"max-age": "2000h", "validate-user": True}, "ldap": {"url": "ldap://localhost"}},
        "cron": {"commit-job-worker": "1m", "duration-worker": "5m", "footprint-worker": "10m"},
        "archive": {"kind": "file", "path": "./var/job-archive", "compression": 14},
        "nats": {"address": "nats://0.0.0.0:4222"},
        "metric-store": {
            "checkpoints": {"file-format": "wal"},
            "memory-cap": 100,
            "retention-in-memory": "36h",
            "nats-subscriptions": [{"subscribe-to": "hpc-nats", "cluster-tag": "fritz"}],
        },
        "ui": {"job-list": {"use-paging": False}},
    }
    loaded = load(tmp_path, document)
    assert loaded.value.main.addr == "127.0.0.1:8090"
    assert loaded.value.auth.jwts.validate_user is True
    assert loaded.value.metric_store.retention_in_memory_s == 36 * 3600
    assert any("auth.ldap" in warning for warning in loaded.warnings)
    assert loaded.value.metric_store.memory_cap_gb == 100
    assert any("nats-subscriptions" in warning for warning in loaded.warnings)


@pytest.mark.parametrize(
    ("document", "key", "hint"),
    [
        ({"main": {"adr": "x:1"}}, "main.adr", "'addr'"),
        ({"metric-store": {"retention-in-memry": "1h"}}, "metric-store.retention-in-memry", "'retention-in-memory'"),
        ({"mian": {}}, "mian", "'main'"),
        ({"auth": {"jwts": {"max-age": "soon"}}}, "auth.jwts.max-age", "soon"),
        ({"main": {"threads": "many"}}, "main.threads", "integer"),
        ({"main": {"threads": 0}}, "main.threads", "1"),
        ({"metric-store": {"wal": {"fsync": "sometimes"}}}, "metric-store.wal.fsync", "never"),
        ({"archive": {"kind": "tape"}}, "archive.kind", "file"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path: Path, document: dict[str, Any], key: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, document)
    assert caught.value.key == key
    assert hint in str(caught.value)


def test_keys_for_tokens_come_from_files_or_the_environment_and_are_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "private"
    secret.write_text("top-secret\n", "utf-8")
    secret.chmod(0o600)
    loaded = load(tmp_path, {"auth": {"jwts": {"private-key-file": "private"}}}, JWT_PUBLIC_KEY="also-kept")
    assert loaded.value.auth.jwts.private_key == "top-secret"
    assert loaded.value.auth.jwts.public_key == "also-kept"
    text = format_settings(loaded)
    assert "top-secret" not in text
    assert "also-kept" not in text
    assert "JWT_PUBLIC_KEY" in text


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "private"
    secret.write_text("top-secret\n", "utf-8")
    secret.chmod(0o644)
    with pytest.raises(SettingsError, match="private"):
        load(tmp_path, {"auth": {"jwts": {"private-key-file": "private"}}})


def test_external_stores_of_the_reference_are_read(tmp_path: Path) -> None:
    entries = [
        {"scope": "orion-gpu", "url": "http://ms2:8082", "token": "top-secret"},
        {"scope": "*", "url": "http://ms1:8082", "token": "also-secret", "timeout": "3s"},
    ]
    loaded = load(tmp_path, {"metric-store-external": entries})
    first, second = loaded.value.metric_store_external
    assert (first.scope, first.url, first.token, first.timeout_s) == ("orion-gpu", "http://ms2:8082", "top-secret", 10)
    assert second.timeout_s == 3
    assert "secret" not in format_settings(loaded)
    assert loaded.value.metric_store_external != load(tmp_path, {}).value.metric_store_external == ()


@pytest.mark.parametrize(("entry", "key"), [({"url": "http://a"}, "scope"), ({"scope": "*", "ulr": "http://a"}, "ulr")])
def test_an_external_store_without_what_it_needs_is_refused(tmp_path: Path, entry: dict[str, str], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {"metric-store-external": [entry]})
    assert caught.value.key == f"metric-store-external[0].{key}"
