"""The configuration files that installations of the reference have."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.settings import SAMPLE_PUBLIC_KEY, BackendSettings, load_settings
from cc_backend.settings.config_file import MOVED_KEYS, kebab_case
from cc_common.errors import SettingsError
from cc_common.settings import LoadedSettings

# As a site up to release 1.4 had it.
BEFORE_1_5: dict[str, Any] = {
    "addr": "0.0.0.0:8443",
    "stop-jobs-exceeding-walltime": 288000,
    "short-running-jobs-duration": 240,
    "apiAllowedIPs": ["10.0.0.0/8"],
    "ldap": {"url": "ldaps://ldap.example.org", "user_base": "ou=people", "sync_interval": "24h"},
    "https-cert-file": "/etc/ssl/fullchain.pem",
    "https-key-file": "/etc/ssl/privkey.pem",
    "user": "clustercockpit",
    "group": "clustercockpit",
    "archive": {"kind": "file", "path": "./var/archive", "compression": 7, "retention": {"policy": "none"}},
    "validate": True,
    "enable-resampling": {"trigger": 30, "resolutions": [600, 300, 120, 60]},
    "emission-constant": 317,
    "clusters": [
        {
            "name": "tern",
            "metricDataRepository": {"kind": "cc-metric-store", "url": "http://localhost:8082", "token": "abc"},
            "filterRanges": {"numNodes": {"from": 1, "to": 64}},
        },
        {"name": "old", "metricDataRepository": {"kind": "influxdb", "url": "http://localhost:8086"}},
    ],
    "jwts": {"cookieName": "", "validateUser": True, "max-age": "2000h", "trustedIssuer": ""},
    "cron-frequency": {"duration-worker": "5m"},
    "ui-defaults": {"plot_view_plotsPerRow": 3},
}


def load(folder: Path, content: Any, **files: Any) -> LoadedSettings[BackendSettings]:
    for name, text in {"config": content, **files}.items():
        path = folder / f"{name.replace('_', '-')}.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return load_settings(folder / "config.json", environment={})


def warned(loaded: LoadedSettings[BackendSettings], *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in loaded.warnings)


def told_or_read(folder: Path, content: Any) -> tuple[str, ...]:
    """The warnings about a file, or the one error."""
    try:
        return load(folder, content).warnings
    except SettingsError as error:
        return (str(error),)


class TestSectionsInFilesOfTheirOwn:
    def test_each_section_is_read_from_the_file_that_is_named(self, tmp_path: Path) -> None:
        names = {f"{name}-file": f"{name}.json" for name in ("main", "auth", "archive", "metric-store")}
        loaded = load(
            tmp_path,
            names,
            main={"addr": "127.0.0.1:8090"},
            auth={"jwts": {"max-age": "2000h"}},
            archive={"kind": "file", "path": "./elsewhere"},
            metric_store={"retention-in-memory": "12h"},
        )
        settings = loaded.value
        assert settings.main.addr == "127.0.0.1:8090"
        assert settings.auth.jwts.max_age_s == 7_200_000
        assert settings.archive.path == str(tmp_path / "elsewhere")
        assert settings.metric_store.retention_in_memory_s == 12 * 3600
        assert loaded.origins["main.addr"] == str(tmp_path / "main.json")

    def test_a_file_of_a_section_without_use_is_not_even_looked_for(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, {"ui-file": "ui-config.json", "cron-file": "none", "nats-file": "none"})
        assert len(loaded.warnings) == 3
        assert warned(loaded, "ui-file: is a setting of ClusterCockpit 1.5")

    def test_what_is_wrong_in_such_a_file_is_told_with_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError) as caught:
            load(tmp_path, {"main-file": "main.json"}, main={"adr": "x:1"})
        assert str(caught.value) == f"{tmp_path}/main.json: main.adr: there is no such setting; did you mean 'addr'?"

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ({"main-file": "main.json", "main": {}}, "'main' is given as well"),
            ({"main-file": "nowhere.json"}, "nowhere.json: cannot be read"),
            ({"main-file": "."}, "cannot be read: Is a directory"),
            ({"main-file": "list.json"}, "must hold an object"),
            ({"main-file": 7}, "must be the name of a file"),
            ({"main-file": ""}, "must be the name of a file"),
            ({"mian-file": "main.json"}, "mian-file: there is no such setting"),
            ({"main-file": "deep.json"}, "is nested too deeply"),
            ({"main-file": "large.json"}, "is larger than 16 MiB"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, tmp_path: Path, content: Any, words: str) -> None:
        (tmp_path / "large.json").write_text(" " * (17 << 20), "utf-8")
        with pytest.raises(SettingsError, match=words) as caught:
            load(tmp_path, content, main={}, list="[]", deep='{"a":' * 100_000)
        assert "\n" not in str(caught.value)


class TestReleasesBefore15:
    def test_the_whole_file_is_read_into_today_s_places(self, tmp_path: Path) -> None:
        settings = load(tmp_path, BEFORE_1_5).value
        assert (settings.main.addr, settings.main.short_running_jobs_duration) == ("0.0.0.0:8443", 240)
        assert settings.main.api_allowed_ips == ("10.0.0.0/8",)
        assert (settings.main.https_cert_file, settings.main.https_key_file) == (
            "/etc/ssl/fullchain.pem",
            "/etc/ssl/privkey.pem",
        )
        assert settings.auth.jwts.max_age_s == 7_200_000
        assert settings.auth.jwts.validate_user
        assert settings.archive.path == str(tmp_path / "var/archive")
        (store,) = settings.metric_store_external
        assert (store.scope, store.url, store.token) == ("tern", "http://localhost:8082", "abc")

    def test_every_key_is_told_with_its_new_place_all_at_once(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, BEFORE_1_5)
        for old, new in {
            "addr": "main.addr",
            "apiAllowedIPs": "main.api-allowed-ips",
            "jwts": "auth.jwts",
            "ldap": "auth.ldap",
            "user": "main.user",
            "enable-resampling": "main.resampling",
            "cron-frequency": "cron",
            "ui-defaults": "ui",
        }.items():
            assert warned(loaded, f": {old}: stands at {new} now"), old
        assert warned(loaded, "clusters[0].metricDataRepository", "metric-store-external")
        assert warned(loaded, "clusters[1].metricDataRepository", '"influxdb" is not supported')
        assert warned(loaded, "auth.jwts.validateUser: is written 'validate-user' now")

    def test_what_stands_in_its_new_place_already_counts(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, {"addr": "a:1", "main": {"addr": "localhost:2"}})
        assert loaded.value.main.addr == "localhost:2"
        assert warned(loaded, ": addr: is left out, as main.addr is given too")

    def test_stores_that_are_configured_in_today_s_way_count(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, {"clusters": BEFORE_1_5["clusters"], "metric-store": {}})
        assert loaded.value.metric_store_external == ()

    @pytest.mark.parametrize("never", ["", "0", 0, "0s"])
    def test_logins_and_tokens_that_never_end_get_the_default_end(self, tmp_path: Path, never: Any) -> None:
        loaded = load(tmp_path, {"session-max-age": never, "jwt-max-age": never})
        assert (loaded.value.main.session_max_age_s, loaded.value.auth.jwts.max_age_s) == (168 * 3600, 90 * 86400)
        assert warned(loaded, "main.session-max-age", "no end")
        assert warned(loaded, "auth.jwts.max-age", "no end")

    def test_the_oldest_way_to_name_the_archive(self, tmp_path: Path) -> None:
        assert load(tmp_path, {"job-archive": "./jobs"}).value.archive.path == str(tmp_path / "jobs")

    def test_mysql_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r'db-driver: "mysql" is not supported; .* SQLite file'):
            load(tmp_path, {"db-driver": "mysql", "db": "cc:demo@tcp(127.0.0.1:3306)/cc"})
        assert warned(load(tmp_path, {"db-driver": "sqlite3", "db": "./job.db"}), "says by its form")

    @pytest.mark.parametrize("key", MOVED_KEYS)
    @pytest.mark.parametrize("value", [None, 7, "x", [], {}, [{}], True])
    def test_nonsense_in_an_old_key_is_named_or_read_never_worse(self, tmp_path: Path, key: str, value: Any) -> None:
        told = told_or_read(tmp_path, {key: value})
        assert any(f"{tmp_path / 'config.json'}: " in text for text in told)

    @pytest.mark.parametrize("clusters", [None, 7, {}, [7], [{}], [{"metricDataRepository": 1}], [[]]])
    def test_nonsense_in_place_of_clusters_is_left_alone(self, tmp_path: Path, clusters: Any) -> None:
        assert load(tmp_path, {"clusters": clusters}).value.metric_store_external == ()


class TestTheReferencesOwnExamples:
    def test_keys_of_a_release_between_in_camel_case(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, {"main": {"addr": "127.0.0.1:8080", "apiAllowedIPs": ["*"]}})
        assert loaded.value.main.api_allowed_ips == ("*",)
        assert warned(loaded, "main.apiAllowedIPs: is written 'api-allowed-ips' now")

    def test_a_large_site(self, tmp_path: Path) -> None:
        document = {
            "main": {
                "addr": "0.0.0.0:8088",
                "enable-job-taggers": True,
                "log-source": "auto",
                "log-buffer-size": 4096,
                "db-config": {"cache-size-mb": 16384, "soft-heap-limit-mb": 131072, "max-open-connections": 8},
                "nodestate-retention": {"policy": "delete", "age": 168},
                "resampling": {"default-policy": "medium", "default-algo": "average"},
                "api-subjects": {"subject-job-event": "cc.job.event", "subject-node-state": "cc.node.state"},
            },
            "nats": {"address": "nats://0.0.0.0:4222"},
            "auth": {"jwts": {"max-age": "2000h", "public-key": SAMPLE_PUBLIC_KEY}, "oidc": {"provider": "http://x"}},
            "cron": {"commit-job-worker": "1m"},
            "archive": {"kind": "file", "path": "./var/job-archive", "compression": 7, "retention": {"policy": "move"}},
            "metric-store-external": [{"scope": "tern", "url": "http://0.0.0.0:8084", "token": "abc"}],
            "metric-store": {
                "retention-in-memory": "24h",
                "memory-cap": 100,
                "num-workers": 10,
                "checkpoints": {"file-format": "wal", "directory": "./var/checkpoints"},
                "checkpoint-interval": "12h",
                "cleanup": {"mode": "archive", "directory": "./var/metric-archive"},
            },
        }
        loaded = load(tmp_path, document)
        assert loaded.value.main.addr == "0.0.0.0:8088"
        assert warned(loaded, "auth.jwts.public-key: is the sample that ClusterCockpit 1.5 ships")

    @pytest.mark.parametrize(("kind", "where"), [("s3", "in S3 storage"), ("sqlite", "in an SQLite file")])
    def test_an_archive_that_cannot_be_read_yet_is_told_in_one_clear_line(
        self, tmp_path: Path, kind: str, where: str
    ) -> None:
        archive = {"kind": kind, "endpoint": "https://s3", "bucket": "jobs", "access-key": "a", "db-path": "x"}
        with pytest.raises(SettingsError) as caught:
            load(tmp_path, {"archive-file": "archive.json"}, archive=archive)
        assert str(caught.value) == (
            f"{tmp_path}/archive.json: archive.kind: a job archive {where} is not supported yet; this version keeps it "
            'in a folder: "archive": {"kind": "file", "path": "..."}'
        )

    def test_all_unknown_keys_of_a_section_are_told_together(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError) as caught:
            load(tmp_path, {"main": {"adr": 1, "thread": 2, "zzz": 3}})
        for words in ("main.adr", "did you mean 'addr'", "main.thread", "did you mean 'threads'", "main.zzz: neither"):
            assert words in str(caught.value)


@pytest.mark.parametrize(
    ("key", "kebab"),
    [
        ("apiAllowedIPs", "api-allowed-ips"),
        ("user_base", "user-base"),
        ("syncUserOnLogin", "sync-user-on-login"),
        ("https-cert-file", "https-cert-file"),
        ("", ""),
    ],
)
def test_keys_are_written_with_hyphens(key: str, kebab: str) -> None:
    assert kebab_case(key) == kebab


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    [*MOVED_KEYS, "main", "auth", "archive", "clusters", "metric-store", "main-file", "db-driver", "ui"]
)


@given(st.dictionaries(_KEYS, _JSON, max_size=4))
def test_whatever_the_file_says_it_is_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("config")
    assert all(told_or_read(folder, document))
