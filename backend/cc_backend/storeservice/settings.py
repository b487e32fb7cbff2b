"""The settings of `cc-backend metric-store`; keys are those of cc-metric-store, and its older layout is understood.

Relative paths are taken from the folder of the configuration file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cc_backend.settings import LEGACY_KEYS as BACKEND_LEGACY
from cc_backend.settings import ListenSettings, MetricStoreSettings
from cc_backend.settings.config_file import read_with_included_files
from cc_backend.settings.env_file import merge_env_file
from cc_common.settings import LoadedSettings, load, named_sections, option, required, section


@dataclass(frozen=True)
class StoreMainSettings(ListenSettings):
    """Section `main`."""

    addr: str = option("localhost:8082", "Address and port to listen on.", env="CC_METRIC_STORE_ADDR")
    jwt_public_key: str = option(
        "",
        "Ed25519 public key of the tokens, base64 of 32 bytes; empty lets everybody in, on this machine only.",
        env="JWT_PUBLIC_KEY",
        secret=True,
    )
    revoked_tokens: tuple[str, ...] = option((), "Ids (claim jti) of tokens that are no longer good.")
    open_to_all: bool = option(
        False, "With an empty jwt-public-key: listen on addresses that others can reach all the same."
    )
    backend_url: str = option(
        "", "Address of the backend that knows the running jobs, such as https://cc.example.org; their samples stay."
    )
    backend_token: str = option("", "Token for that backend, with the scope read or jobs.", secret=True)
    clusters: tuple[str, ...] = option((), "Clusters that are taken; empty takes any.")
    max_clusters: int = option(100, "Without a list, more default clusters than this are refused.", minimum=1)
    max_json_bytes: int = option(16 * 1024 * 1024, "Largest body of any other request.", minimum=1024)


@dataclass(frozen=True)
class StoreMetricSettings:
    """Sections `metrics.<name>`."""

    frequency: int = required("Seconds from sample to sample.", minimum=1)
    aggregation: str | None = option(None, "How parts of a host combine; null: not at all.", choices=("sum", "avg", ""))


@dataclass(frozen=True)
class StoreServiceSettings:
    """The whole configuration file."""

    main: StoreMainSettings = section(StoreMainSettings, "The server.")
    metrics: Mapping[str, StoreMetricSettings] = named_sections(
        StoreMetricSettings, "What is kept, for all clusters alike."
    )
    metric_store: MetricStoreSettings = section(MetricStoreSettings, "Samples.")


_NOT_NEEDED = "is a setting of ClusterCockpit 1.5 that is not needed here"
LEGACY: Mapping[str, str] = {
    **{key: advice for key, advice in BACKEND_LEGACY.items() if key.startswith("metric-store.")},
    "main.user": "start the service as that user instead (see the systemd unit)",
    "main.group": "start the service with that group instead (see the systemd unit)",
    "main.debug": _NOT_NEEDED,
    "nats": "is a setting of ClusterCockpit 1.5 that this version does not use yet",
    "checkpoints": "samples are kept in metric-store.wal.directory; see `cc-backend import-checkpoints`",
    "archive": _NOT_NEEDED,
    "debug": _NOT_NEEDED,
    "num-workers": _NOT_NEEDED,
    "memory-cap": "belongs under metric-store",
}

# new places of the settings of releases before 1.5
_MOVED = {
    ("retention-in-memory",): ("metric-store", "retention-in-memory"),
    ("jwt-public-key",): ("main", "jwt-public-key"),
    ("http-api", "address"): ("main", "addr"),
    ("http-api", "https-cert-file"): ("main", "https-cert-file"),
    ("http-api", "https-key-file"): ("main", "https-key-file"),
}


def load_settings(
    path: Path, *, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> LoadedSettings[StoreServiceSettings]:
    """The settings in a file, with each value's origin.

    Raises:
        SettingsError: the file cannot be read, or a key is unknown, of the wrong type or out of range.
    """
    found = read_with_included_files(path, sections=("main", "metrics", "metric-store"), unused=LEGACY)
    document, notes = move_legacy_keys(found.content)
    environment, env_sources, env_warnings = merge_env_file(path, environment)
    loaded = load(
        StoreServiceSettings,
        document,
        source=found.source,
        other_sources=found.sources,
        base_directory=path.resolve().parent,
        environment=environment,
        env_sources=env_sources,
        overrides=overrides or {},
        legacy=LEGACY,
    )
    moved = [f"{path}: {note}" for note in notes]
    return LoadedSettings(loaded.value, loaded.origins, (*found.warnings, *moved, *loaded.warnings, *env_warnings))


def move_legacy_keys(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document with settings of older releases at their present places, and a note for each that was moved."""
    new = dict(document)
    notes: list[str] = []
    for old, (section_name, key) in _MOVED.items():
        holder = new.get(old[0]) if len(old) > 1 else new
        if not isinstance(holder, Mapping) or old[-1] not in holder:
            continue
        value = holder[old[-1]]
        target = new.get(section_name)
        target = dict(target) if isinstance(target, Mapping) else {}
        if value is not None and key not in target:
            target[key] = value
            new[section_name] = target
        notes.append(f"{'.'.join(old)}: stands at {section_name}.{key} now")
        if len(old) == 1:
            del new[old[0]]
    if isinstance(new.get("http-api"), Mapping):
        rest = set(new.pop("http-api")) - {old[-1] for old in _MOVED if len(old) > 1}
        notes += [f"http-api.{key}: {_NOT_NEEDED}" for key in sorted(rest)]
    return new, notes
