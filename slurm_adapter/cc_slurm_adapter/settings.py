"""The settings of the adapter, from the configuration file, the environment and the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Pattern, Tuple

from cc_common.errors import SettingsError
from cc_common.settings import LoadedSettings, load, option, read_json, read_token_option, section, sections
from cc_slurm_adapter.event_mapping import GpuRule
from cc_slurm_adapter.options import AdapterOptions

COMMAND_LINE = "command line"
TOKEN_VARIABLE = "CC_SLURM_ADAPTER_TOKEN"  # noqa: S105 the name of a variable, not a token

# key of cc-slurm-adapter -> ours
_LEGACY_KEYS = {
    "ccRestUrl": "backend.url",
    "ccRestJwt": "backend.token",
    "slurmPollInterval": "interval",
    "slurmQueryMaxSpan": "slurm.max-span",
    "ignoreHosts": "ignore-hosts",
    "lastRunPath": "last-run-file",
}
_NOT_NEEDED = "is not needed: "
_LEGACY = {
    "pidFilePath": _NOT_NEEDED + "a lock in the state directory keeps a second instance away",
    "prepSockListenPath": "hooks are not supported yet; what they would report is found at the next poll",
    "prepSockConnectPath": "hooks are not supported yet; what they would report is found at the next poll",
    "slurmQueryDelay": _NOT_NEEDED + "it belongs to hooks",
    "slurmMaxRetries": _NOT_NEEDED + "nothing is given up",
    "slurmQueryMaxRetries": _NOT_NEEDED + "nothing is given up",
    "slurmMaxConcurrent": _NOT_NEEDED + "commands run one after the other",
    "ccPollInterval": _NOT_NEEDED + "the adapter keeps a journal of its own",
    "ccRestSubmitJobs": "events always go over HTTP",
    "ipcSockPath": "was removed long ago",
    **dict.fromkeys(
        ("natsServer", "natsPort", "natsSubject", "natsUser", "natsPassword"),
        "NATS is not supported yet; events go over HTTP",
    ),
    "natsCredsFile": "NATS is not supported yet; events go over HTTP",
    "natsNKeySeedFile": "NATS is not supported yet; events go over HTTP",
}


@dataclass(frozen=True)
class BackendConnectionSettings:
    """Address and credentials of the backend."""

    url: str = option("", "address of the backend, without `/api`; http or https")
    token: str = option("", "token that is sent as bearer token", env=TOKEN_VARIABLE, secret=True)
    ca_file: str = option("", "certificates to trust instead of the system's", kind="path")
    timeout_s: float = option(
        10.0, "maximum time for a request to the end of its response", key="timeout", kind="duration", minimum=0.1
    )


@dataclass(frozen=True)
class SlurmSettings:
    """How Slurm is polled."""

    command_directory: str = option("", "folder of Slurm's commands; empty means PATH", kind="path")
    timeout_s: float = option(
        60.0, "maximum run time of a command; then it is killed", key="timeout", kind="duration", minimum=0.5
    )
    accounting: bool = option(True, "whether the site runs slurmdbd; without it ends of jobs come from the queue only")
    overlap_s: float = option(
        600.0,
        "overlap of a poll of the accounting with the one before, for late records",
        key="overlap",
        kind="duration",
        minimum=0.0,
    )
    max_span_s: float = option(
        604_800.0,
        "maximum time that the first poll, or one after a long pause, reaches back",
        key="max-span",
        kind="duration",
        minimum=60.0,
    )
    grace_s: float = option(
        600.0,
        "maximum time that the end of a job may be missing from the accounting after the controller dropped it",
        key="grace",
        kind="duration",
        minimum=0.0,
    )
    node_states: bool = option(True, "whether the state of all nodes is sent at each poll")


@dataclass(frozen=True)
class GpuMapSettings:
    """The accelerators of some hosts; the first entry whose pattern matches a host's name applies."""

    hosts: str = option("", "regular expression, searched in the host name")
    addresses: Tuple[str, ...] = option((), "ids of the accelerators in the order of Slurm's index")

    def __post_init__(self) -> None:
        """Check the pattern."""
        _check_pattern("hosts", self.hosts)


@dataclass(frozen=True)
class AdapterSettings:
    """All settings of the configuration file."""

    cluster: str = option("", "name of the cluster in events; empty means what Slurm calls it")
    interval_s: float = option(60.0, "time between polls of Slurm", key="interval", kind="duration", minimum=1.0)
    state_directory: str = option("", "folder for the journal; it is needed", kind="path", env="STATE_DIRECTORY")
    topology_file: str = option(
        "", "description of the cluster (cluster.json); empty means that it is fetched from the backend", kind="path"
    )
    ignore_hosts: str = option("", "regular expression: jobs and nodes of such hosts alone are left out")
    last_run_file: str = option("", "file of cc-slurm-adapter; its time is where the first poll begins", kind="path")
    backend: BackendConnectionSettings = section(BackendConnectionSettings, "Address and credentials of the backend.")
    slurm: SlurmSettings = section(SlurmSettings, "How Slurm is polled.")
    gpu_map: Tuple[GpuMapSettings, ...] = sections(
        GpuMapSettings, "Ids of accelerators by host, if the topology does not have them in Slurm's order."
    )

    def __post_init__(self) -> None:
        """Check the pattern."""
        _check_pattern("ignore-hosts", self.ignore_hosts)


@dataclass(frozen=True)
class AdapterConfiguration:
    """Checked settings and the values derived from them; `source` names the file."""

    loaded: LoadedSettings[AdapterSettings]
    source: str
    warnings: List[str]

    @property
    def settings(self) -> AdapterSettings:
        """The settings."""
        return self.loaded.value

    @property
    def state_directory(self) -> Path:
        """The folder for the journal. Raises SettingsError if it is not set."""
        # systemd gives several folders separated by colons; the first one is ours
        folder = self.settings.state_directory.split(":", 1)[0]
        if not folder:
            raise SettingsError("state-directory", f"{self.source}: state-directory: is required; or give --state-dir")
        return Path(folder)

    @property
    def url(self) -> str:
        """The address of the backend. Raises SettingsError if it is not set."""
        if not self.settings.backend.url:
            raise SettingsError("backend.url", f"{self.source}: backend.url: is required; or give --url")
        return self.settings.backend.url.rstrip("/")

    def require_complete(self) -> None:
        """Raises SettingsError unless all settings that sending needs are given."""
        _ = self.url, self.state_directory

    @property
    def ignored(self) -> Optional[Pattern[str]]:
        """The pattern of hosts that are left out; None if there is none."""
        return re.compile(self.settings.ignore_hosts) if self.settings.ignore_hosts else None

    @property
    def gpu_rules(self) -> Tuple[GpuRule, ...]:
        """The accelerator rules, in order."""
        return tuple(GpuRule(re.compile(entry.hosts), entry.addresses) for entry in self.settings.gpu_map)


def load_configuration(options: AdapterOptions, environment: Mapping[str, str]) -> AdapterConfiguration:
    """The configuration for the options of a command line. Raises SettingsError."""
    path = Path(options.config) if options.config else None
    source = str(path) if path else COMMAND_LINE
    warnings: List[str] = []
    document = translate_legacy_keys(read_json(path), source, warnings) if path else {}
    loaded = load(
        AdapterSettings,
        document,
        source=source,
        base_directory=path.parent if path else None,
        environment=environment,
        overrides={
            "cluster": options.cluster,
            "interval": options.interval,
            "state-directory": options.state_dir,
            "topology-file": options.topology_file,
            "backend.url": options.url,
            "backend.token": read_token_option(options.token_file),
        },
        legacy=_LEGACY,
    )
    return AdapterConfiguration(loaded, source, [*warnings, *loaded.warnings])


def translate_legacy_keys(document: Mapping[str, Any], source: str, warnings: List[str]) -> Dict[str, Any]:
    """The document with the keys of the reference's cc-slurm-adapter replaced by ours.

    Raises SettingsError if a setting is given under both keys.
    """
    ours: Dict[str, Any] = {}
    for key, value in document.items():
        if key == "gpuPciAddrs" and isinstance(value, Mapping):
            entries = [{"hosts": hosts, "addresses": addresses} for hosts, addresses in value.items()]
            _put_setting(ours, "gpu-map", entries, key, source)
        elif key in _LEGACY_KEYS:
            if value not in ("", None):
                _put_setting(ours, _LEGACY_KEYS[key], value, key, source)
        else:
            _put_setting(ours, key, value, key, source)
            continue
        warnings.append(f"{source}: {key}: old name; write {_LEGACY_KEYS.get(key, 'gpu-map')} instead")
    return ours


def _put_setting(ours: Dict[str, Any], dotted: str, value: Any, key: str, source: str) -> None:
    *folders, name = dotted.split(".") if key in _LEGACY_KEYS else [dotted]
    target = ours
    for folder in folders:
        target = target.setdefault(folder, {})
        if not isinstance(target, dict):
            raise SettingsError(folder, f"{source}: {folder}: must be an object")
    if isinstance(value, Mapping) and isinstance(target.get(name), dict):
        twice = target[name].keys() & value.keys()
        if not twice:
            target[name].update(value)
            return
    elif name not in target:
        target[name] = dict(value) if isinstance(value, Mapping) else value
        return
    raise SettingsError(key, f"{source}: {key}: {dotted!r} is given twice; keep one")


def _check_pattern(key: str, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise SettingsError(key, f"is not a regular expression: {error}") from error
