"""The backend's settings: each declared once, with type, default and help. Keys are those of ClusterCockpit 1.5.

Relative paths are relative to the folder of the configuration file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cc_backend.settings.config_file import read_config
from cc_backend.settings.env_file import merge_env_file
from cc_common.settings import LoadedSettings, load, option, required, section, sections

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S

ADDRESS_VARIABLE = "CC_BACKEND_ADDR"


@dataclass(frozen=True)
class DatabaseSettings:
    """`main.db-config`."""

    cache_size_mb: int = option(
        64,
        "Page cache of SQLite, in MB: so much for the connection that writes, and as much for all others together, "
        "which forget what they have read at the next write.",
        minimum=1,
    )
    busy_timeout_ms: int = option(60_000, "How long a statement waits for a lock, in ms.", minimum=0)
    statement_timeout_ms: int = option(
        60_000, "How long a statement may take, in ms; for PostgreSQL only. 0 sets no limit.", minimum=0
    )


@dataclass(frozen=True)
class NodeStateRetentionSettings:
    """`main.nodestate-retention`."""

    policy: str = option(
        "delete",
        "What becomes of old node states: delete removes them; move, to files elsewhere, is not there yet and keeps "
        "them. The newest of each node always stays.",
        choices=("delete", "move"),
    )
    age: int = option(168, "Node states older than this many hours are old.", minimum=1)


@dataclass(frozen=True)
class ConcurrentJobsSettings:
    """`main.concurrent-jobs`."""

    min_duration: int = option(
        600, "Jobs that run no longer than this many seconds have no concurrent jobs.", minimum=0
    )
    margin: int = option(
        200, "Seconds after the start and before the end of a job in which other jobs do not count.", minimum=0
    )


@dataclass(frozen=True)
class JobTaggerSettings:
    """`main.job-taggers`."""

    apps: str = option(
        "var/tagger/apps",
        "Folder of the site's own patterns: a text file for each application, one regular expression (RE2) a line.",
        kind="path",
    )
    job_classes: str = option(
        "var/tagger/jobclasses",
        "Folder of the site's own rules of job classes, with their parameters.json.",
        kind="path",
    )
    shipped_apps: bool = option(True, "Look for the applications that come with the program as well.")
    shipped_rules: bool = option(True, "Apply the rules that come with the program as well.")


@dataclass(frozen=True)
class ListenSettings:
    """Settings of `main` that both servers have: where and how they listen; HTTPS if there is a certificate."""

    addr: str = option("localhost:8080", "Address and port to listen on.", env=ADDRESS_VARIABLE)
    threads: int = option(16, "Requests served at the same time.", minimum=1, maximum=256)
    https_cert_file: str = option(
        "", "Certificate chain (PEM); with https-key-file the server speaks HTTPS.", kind="path"
    )
    https_key_file: str = option("", "Private key (PEM) of the certificate.", kind="path")
    max_batch_bytes: int = option(
        32 * 1024 * 1024, "Largest body of a write request, after decompression.", minimum=1024
    )


@dataclass(frozen=True)
class BackendMainSettings(ListenSettings):
    """`main`."""

    db: str = option(
        "var/job.db",
        "SQLite file of jobs, accounts and node states, or the address of a PostgreSQL database, such as "
        "postgresql://cockpit@localhost/cockpit.",
        kind="path",
    )
    db_password: str = option("", "Password for PostgreSQL.", env="CC_DB_PASSWORD", secret=True)
    api_allowed_ips: tuple[str, ...] = option(
        (), "Addresses or networks that may use /api/ with a token; empty or a first entry * allows all."
    )
    trusted_proxies: tuple[str, ...] = option(
        (), "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."
    )
    session_max_age_s: float = option(
        168 * HOUR_S, "A login ends this long after it was made.", key="session-max-age", kind="duration", minimum=60
    )
    session_idle_s: float = option(
        24 * HOUR_S, "A login ends when unused this long.", key="session-idle", kind="duration", minimum=60
    )
    short_running_jobs_duration: int = option(
        300, "Jobs shorter than this many seconds are short; the job list can leave them out. 0 means none.", minimum=0
    )
    stop_jobs_exceeding_walltime: int = option(
        0,
        "A running job whose time limit passed more than this many seconds ago is ended as failed, with its time limit "
        "as duration, and archived: its end was most likely never reported. 0 ends none.",
        minimum=0,
    )
    concurrent_jobs: ConcurrentJobsSettings = section(
        ConcurrentJobsSettings, "Which other jobs on the same nodes count as concurrent."
    )
    max_json_bytes: int = option(4 * 1024 * 1024, "Largest JSON body of any other request.", minimum=1024)
    machine_state_dir: str = option(
        "",
        "Folder of the documents that machines store about themselves at /api/machine_state/; empty switches that off.",
        kind="path",
    )
    enable_job_taggers: bool = option(
        False, "Tag jobs with the applications that they run (app), and finished jobs with their classes (jobClass)."
    )
    job_taggers: JobTaggerSettings = section(JobTaggerSettings, "What jobs are tagged by.")
    nodestate_retention: NodeStateRetentionSettings = section(
        NodeStateRetentionSettings, "How long the database remembers what the nodes did."
    )
    db_config: DatabaseSettings = section(DatabaseSettings, "The database connections.")


@dataclass(frozen=True)
class TokenSettings:
    """`auth.jwts`."""

    max_age_s: float = option(90 * DAY_S, "Life of an issued token.", key="max-age", kind="duration", minimum=60)
    validate_user: bool = option(
        False, "Accept a token only if its subject is an account, and take the roles from the account."
    )
    public_key: str = option("", "Ed25519 public key, base64 of 32 bytes.", env="JWT_PUBLIC_KEY", secret=True)
    private_key: str = option("", "Ed25519 private key, base64 of 64 bytes.", env="JWT_PRIVATE_KEY", secret=True)


@dataclass(frozen=True)
class AuthSettings:
    """`auth`."""

    jwts: TokenSettings = section(TokenSettings, "Tokens for programs.")


@dataclass(frozen=True)
class ArchiveSettings:
    """`archive`."""

    kind: str = option("file", "Where the job archive is kept.", choices=("file",))
    path: str = option("var/job-archive", "Folder of the job archive; holds cluster.json of each cluster.", kind="path")
    late_data_s: float = option(
        600, "How long archiving waits for hosts that have not sent yet.", key="late-data", kind="duration", minimum=0
    )
    core_scope_nodes: int = option(8, "Jobs of up to this many nodes are archived per core as well.", minimum=0)


@dataclass(frozen=True)
class WriteAheadLogSettings:
    """`metric-store.wal`."""

    directory: str = option("var/metric-store", "Folder of the write-ahead log.", kind="path")
    fsync: str = option(
        "interval",
        "When samples are forced to disk: always, interval, or never. A killed process loses nothing either way; "
        "a power cut can cost what was written since the last time.",
        choices=("always", "interval", "never"),
    )
    fsync_interval_s: float = option(
        1.0, "Time between two such moments.", key="fsync-interval", kind="duration", minimum=0.01
    )


@dataclass(frozen=True)
class MetricStoreSettings:
    """`metric-store`."""

    retention_in_memory_s: float = option(
        48 * HOUR_S, "Samples are kept in memory this long.", key="retention-in-memory", kind="duration", minimum=3600
    )
    memory_cap_gb: int = option(
        0,
        "Memory that samples may take, in GB of 10^9 bytes; 0 sets no limit. Near it old samples are left on disk "
        "only, those of running jobs last; beyond it new samples are refused with 503.",
        key="memory-cap",
        minimum=0,
    )
    hot_s: float = option(
        2 * HOUR_S, "Samples older than this are kept compressed.", key="hot-period", kind="duration", minimum=0
    )
    round_bits: int = option(
        0,
        "Bits of the mantissa that compressed samples keep, 1 to 22; 0 keeps them exact. With n bits a sample is off "
        "by up to its own size times 2^-(n+1).",
        minimum=0,
        maximum=22,
    )
    snapshot_interval_s: float = option(
        0.5 * HOUR_S,
        "How often samples move from the write-ahead log to snapshot files.",
        key="snapshot-interval",
        kind="duration",
        minimum=10,
    )
    strict_hosts: bool = option(
        False, "Refuse samples of hosts that the cluster configuration does not name; else they are only counted."
    )
    max_series: int = option(4_000_000, "More series than this are refused and counted.", minimum=1)
    max_job_series: int = option(500_000, "The same for series of single jobs.", minimum=1)
    max_hosts: int = option(100_000, "More hosts than this are refused and counted.", minimum=1)
    wal: WriteAheadLogSettings = section(WriteAheadLogSettings, "The log that survives a restart.")


@dataclass(frozen=True)
class ExternalStoreSettings:
    """An entry of `metric-store-external`."""

    scope: str = required("`<cluster>-<subcluster>`, `<cluster>` or `*`: whose samples are there; the nearest counts.")
    url: str = required("Address of the store, such as https://store.example.org:8082.")
    token: str = option("", "Token for it, with the scope read.", secret=True)
    timeout_s: float = option(
        10.0, "How long an answer may take.", key="timeout", kind="duration", minimum=0.1, maximum=600
    )


@dataclass(frozen=True)
class BackendSettings:
    """The whole file."""

    main: BackendMainSettings = section(BackendMainSettings, "The server.")
    auth: AuthSettings = section(AuthSettings, "Who may do what.")
    archive: ArchiveSettings = section(ArchiveSettings, "Finished jobs.")
    metric_store: MetricStoreSettings = section(MetricStoreSettings, "Samples.")
    metric_store_external: tuple[ExternalStoreSettings, ...] = sections(
        ExternalStoreSettings,
        "Metric stores elsewhere, ours or those of ClusterCockpit 1.5, that are asked for samples.",
    )


SAMPLE_PUBLIC_KEY = "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="
"""Public key of the sample pair of ClusterCockpit 1.5, whose private key is public knowledge."""

SAMPLE_KEY_ADVICE = (
    "is the sample that ClusterCockpit 1.5 ships, whose private key everybody has; take a pair of your own, as "
    "`cc-backend init` makes one"
)
SECTIONS = ("main", "auth", "archive", "metric-store")
"""Sections that may be kept in a file of their own, named by `<section>-file`."""

_NOT_USED_YET = "is a setting of ClusterCockpit 1.5 that this version does not use yet"
_NOT_NEEDED = "is a setting of ClusterCockpit 1.5 that is not needed here"

LEGACY_KEYS: Mapping[str, str] = {
    "main.user": "start the service as that user instead (see the systemd unit)",
    "main.group": "start the service with that group instead (see the systemd unit)",
    "main.disable-authentication": "is not supported: every request needs a login or a token",
    "main.embed-static-files": _NOT_NEEDED,
    "main.static-files": _NOT_NEEDED,
    "main.validate": _NOT_USED_YET,
    "main.redirect-http-to": _NOT_USED_YET,
    "main.emission-constant": _NOT_USED_YET,
    "main.systemd-unit": _NOT_USED_YET,
    "main.resampling": _NOT_USED_YET,
    "main.api-subjects": _NOT_USED_YET,
    "main.nodestate-retention.target-kind": _NOT_USED_YET,
    "main.nodestate-retention.target-path": _NOT_USED_YET,
    "main.nodestate-retention.target-endpoint": _NOT_USED_YET,
    "main.nodestate-retention.target-bucket": _NOT_USED_YET,
    "main.nodestate-retention.target-access-key": _NOT_USED_YET,
    "main.nodestate-retention.target-secret-key": _NOT_USED_YET,
    "main.nodestate-retention.target-region": _NOT_USED_YET,
    "main.nodestate-retention.target-use-path-style": _NOT_USED_YET,
    "main.nodestate-retention.max-file-size-mb": _NOT_USED_YET,
    "main.db-config.soft-heap-limit-mb": _NOT_NEEDED,
    "main.db-config.max-open-connections": _NOT_NEEDED,
    "main.db-config.max-idle-connections": _NOT_NEEDED,
    "main.db-config.max-idle-time-minutes": _NOT_NEEDED,
    "auth.ldap": _NOT_USED_YET,
    "auth.oidc": _NOT_USED_YET,
    "auth.jwts.cookie-name": _NOT_USED_YET,
    "auth.jwts.trusted-issuer": _NOT_USED_YET,
    "auth.jwts.sync-user-on-login": _NOT_USED_YET,
    "auth.jwts.update-user-on-login": _NOT_USED_YET,
    "archive.compression": "files are compressed when they are written",
    "archive.retention": _NOT_USED_YET,
    "archive.location": _NOT_NEEDED,
    "metric-store.num-workers": _NOT_NEEDED,
    "metric-store.checkpoint-interval": "samples move from the log to snapshots by metric-store.snapshot-interval",
    "metric-store.checkpoints": "samples are kept below metric-store.wal.directory; `cc-backend import-checkpoints "
    "DIRECTORY` takes over those of ClusterCockpit 1.5",
    "metric-store.cleanup": _NOT_USED_YET,
    "metric-store.debug": _NOT_NEEDED,
    "metric-store.nats-subscriptions": _NOT_USED_YET,
    "nats": _NOT_USED_YET,
    "cron": _NOT_NEEDED,
    "main.log-*": "the log goes to standard error, as a service manager expects it",
    "main.footer*": _NOT_USED_YET,
    "disable-archive": "is not supported: finished jobs are always archived",
    "ui": _NOT_USED_YET,
    "clusters": "clusters are read from <archive>/<cluster>/cluster.json: see `cc-backend cluster add`",
}


LEGACY_VARIABLES: Mapping[str, str] = {
    "SESSION_KEY": "is not needed: logins are kept in the database",
    "CROSS_LOGIN_JWT_PUBLIC_KEY": _NOT_USED_YET,
    "CROSS_LOGIN_JWT_HS512_KEY": _NOT_USED_YET,
    "LDAP_ADMIN_PASSWORD": _NOT_USED_YET,
    "OID_CLIENT_ID": _NOT_USED_YET,
    "OID_CLIENT_SECRET": _NOT_USED_YET,
}


def load_settings(
    path: Path, *, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> LoadedSettings[BackendSettings]:
    """The settings in a configuration file, with the origin of each value.

    Also read are the files that it includes, and the `.env` beside it for variables that `environment` does not have.

    Raises:
        SettingsError: a file cannot be read, or a key is unknown, of the wrong type or out of range.
    """
    document = read_config(path, sections=SECTIONS, unused=LEGACY_KEYS)
    environment, env_sources, env_warnings = merge_env_file(path, environment, unused=LEGACY_VARIABLES)
    loaded = load(
        BackendSettings,
        document.content,
        source=document.source,
        other_sources=document.sources,
        base_directory=path.resolve().parent,
        environment=environment,
        env_sources=env_sources,
        overrides=overrides or {},
        legacy=LEGACY_KEYS,
    )
    notes = []
    if loaded.value.auth.jwts.public_key == SAMPLE_PUBLIC_KEY:
        notes.append(f"{loaded.origins['auth.jwts.public-key']}: auth.jwts.public-key: {SAMPLE_KEY_ADVICE}")
    return LoadedSettings(loaded.value, loaded.origins, (*document.warnings, *loaded.warnings, *env_warnings, *notes))
