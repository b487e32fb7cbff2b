"""Reads the configuration file and the files that it includes, and converts older layouts to the current one.

Accepted are: `<section>-file` at the top level in place of a section; the keys of releases up to 1.4, which had no
sections; keys in camelCase or with underscores.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cc_common.errors import SettingsError
from cc_common.settings import read_json

_MAIN_BEFORE_1_5 = (
    "addr",
    "api-allowed-ips",
    "db",
    "disable-authentication",
    "embed-static-files",
    "emission-constant",
    "enable-job-taggers",
    "group",
    "https-cert-file",
    "https-key-file",
    "machine-state-dir",
    "redirect-http-to",
    "session-max-age",
    "short-running-jobs-duration",
    "static-files",
    "stop-jobs-exceeding-walltime",
    "user",
    "validate",
)
MOVED_KEYS: Mapping[str, tuple[str, ...]] = {
    **{key: ("main", key) for key in _MAIN_BEFORE_1_5},
    "enable-resampling": ("main", "resampling"),
    "jwts": ("auth", "jwts"),
    "jwt-max-age": ("auth", "jwts", "max-age"),
    "ldap": ("auth", "ldap"),
    "oidc": ("auth", "oidc"),
    "job-archive": ("archive",),
    "cron-frequency": ("cron",),
    "ui-defaults": ("ui",),
}
"""Present place of the top-level keys of releases up to 1.4."""

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNLIMITED_VALUES = ("", "0", "0s", 0)
_UNSUPPORTED_ARCHIVES = {"s3": "in S3 storage", "sqlite": "in an SQLite file"}


@dataclass(slots=True)
class ConfigDocument:
    """The merged content of the files; `sources` names the file of each section that was included."""

    content: dict[str, Any]
    source: str
    sources: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, key: str, advice: str) -> None:
        """Add a warning about a key of the main file."""
        self.warnings.append(f"{self.source}: {key}: {advice}")

    def section(self, *path: str) -> dict[str, Any]:
        """An object inside the document, created if missing; SettingsError if the value is not an object."""
        place = self.content
        for depth, key in enumerate(path, start=1):
            inner = place.get(key)
            if inner is not None and not isinstance(inner, dict):
                raise SettingsError(
                    ".".join(path[:depth]), f"{self.source}: {'.'.join(path[:depth])}: must be an object"
                )
            inner = dict(inner or {})
            place[key] = inner
            place = inner
        return place


def read_config(path: Path, *, sections: Collection[str], unused: Mapping[str, str]) -> ConfigDocument:
    """The content of a configuration file in the current layout, with warnings about what was converted.

    `sections` may have a file of their own; the files of `unused` sections are ignored, with this advice as a warning.

    Raises:
        SettingsError: a file cannot be read, a key is given twice, or a value is not supported.
    """
    document = read_with_included_files(path, sections=sections, unused=unused)
    _move_old_keys(document)
    _hyphenate_keys(document)
    _convert_metric_stores(document)
    _replace_unlimited(document)
    _reject_unsupported(document)
    return document


def read_with_included_files(path: Path, *, sections: Collection[str], unused: Mapping[str, str]) -> ConfigDocument:
    """The content of a file, with each `<section>-file` replaced by the section that it names.

    Raises:
        SettingsError: a file cannot be read, or a section is given twice.
    """
    _require_file(path)
    document = ConfigDocument(dict(read_json(path)), str(path))
    for key in [key for key in document.content if key.endswith("-file")]:
        section = key.removesuffix("-file")
        if section in unused:
            document.warn(key, unused[section])
            del document.content[key]
        elif section in sections:
            name = document.content.pop(key)
            if section in document.content:
                raise SettingsError(key, f"{document.source}: {key}: {section!r} is given as well; keep one")
            if not isinstance(name, str) or not name:
                raise SettingsError(key, f"{document.source}: {key}: must be the name of a file")
            document.content[section] = read_json(path.parent / name)
            document.sources[section] = str(path.parent / name)
    return document


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise SettingsError("", f"{path}: is a folder; name the file in it: --config {path / 'config.json'}")
    if not path.exists():
        raise SettingsError("", f"{path}: cannot be read: No such file or directory; name the right one with --config")


def _move_old_keys(document: ConfigDocument) -> None:
    """Move the top-level keys of releases up to 1.4 to their present place."""
    for old in list(document.content):
        kebab = kebab_case(old)
        if kebab in MOVED_KEYS:
            _move_key(document, old, MOVED_KEYS[kebab])
    if driver := document.content.pop("db-driver", None):
        if driver != "sqlite3":
            raise SettingsError(
                "db-driver",
                f"{document.source}: db-driver: {quoted_value(driver)} is not supported; "
                "jobs are kept in an SQLite file or in PostgreSQL (main.db)",
            )
        document.warn("db-driver", "is not needed: main.db says by its form which database it is")


def _move_key(document: ConfigDocument, old: str, path: tuple[str, ...]) -> None:
    value = document.content.pop(old)
    if old == "job-archive" and isinstance(value, str):
        value = {"kind": "file", "path": value}
    place = document.section(*path[:-1])
    dotted = ".".join(path)
    if path[-1] in place:
        document.warn(old, f"is left out, as {dotted} is given too")
        return
    place[path[-1]] = value
    document.warn(old, f"stands at {dotted} now (layout of a release before 1.5)")


def _hyphenate_keys(document: ConfigDocument) -> None:
    """Rewrite the keys of the sections with hyphens, as releases from 1.5 on do."""
    for path in (("main",), ("main", "db-config"), ("auth", "jwts"), ("archive",), ("metric-store",)):
        place: Any = document.content
        for key in path:
            place = place.get(key) if isinstance(place, Mapping) else None
        if not isinstance(place, Mapping):
            continue
        wrong = [key for key in place if kebab_case(key) != key]
        if not wrong:
            continue
        renamed = document.section(*path)
        for key in wrong:
            kebab, value = kebab_case(key), renamed.pop(key)
            dotted = ".".join((*path, key))
            if kebab in renamed:
                document.warn(dotted, f"is left out, as {kebab!r} is given too")
            else:
                renamed[kebab] = value
                document.warn(dotted, f"is written {kebab!r} now")


def _convert_metric_stores(document: ConfigDocument) -> None:
    """Convert the metric stores that releases up to 1.4 named per cluster, unless one is configured the present way."""
    clusters = document.content.get("clusters")
    if not isinstance(clusters, list) or {"metric-store", "metric-store-external"} & document.content.keys():
        return
    stores = []
    for index, cluster in enumerate(clusters):
        store = cluster.get("metricDataRepository") if isinstance(cluster, Mapping) else None
        if not isinstance(store, Mapping):
            continue
        key = f"clusters[{index}].metricDataRepository"
        if store.get("kind") != "cc-metric-store":
            document.warn(key, f"a store of the kind {quoted_value(store.get('kind'))} is not supported")
            continue
        stores.append(
            {"scope": cluster.get("name"), **{name: store[name] for name in ("url", "token") if name in store}}
        )
        document.warn(key, "is read as an entry of metric-store-external")
    if stores:
        document.content["metric-store-external"] = stores


def _replace_unlimited(document: ConfigDocument) -> None:
    """Replace unlimited lifetimes of logins and tokens, which releases up to 1.5 allow, by the default."""
    for *path, key in (("main", "session-max-age"), ("auth", "jwts", "max-age")):
        place: Any = document.content
        for name in path:
            place = place.get(name) if isinstance(place, Mapping) else None
        if isinstance(place, Mapping) and key in place and place[key] in _UNLIMITED_VALUES and place[key] is not False:
            document.section(*path).pop(key)
            document.warn(".".join((*path, key)), "asks for no end, which is not supported; the default is used")


def _reject_unsupported(document: ConfigDocument) -> None:
    archive = document.content.get("archive")
    kind = archive.get("kind") if isinstance(archive, Mapping) else None
    if isinstance(kind, str) and kind in _UNSUPPORTED_ARCHIVES:
        source = document.sources.get("archive", document.source)
        raise SettingsError(
            "archive.kind",
            f"{source}: archive.kind: a job archive {_UNSUPPORTED_ARCHIVES[kind]} is not supported yet; this version "
            'keeps it in a folder: "archive": {"kind": "file", "path": "..."}',
        )


def kebab_case(key: str) -> str:
    """A key as releases from 1.5 on write it: `api-allowed-ips` for `apiAllowedIPs`, `user-base` for `user_base`."""
    return _CAPITAL.sub("-", key).replace("_", "-").lower()


def quoted_value(value: Any) -> str:
    """A value as messages quote it: JSON, shortened to 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 a message is read in one line
