"""The folder of the demo: a backend, accounts with passwords made up here, tokens, and what was done last."""

import json
import secrets
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.caller import Role, TokenScope
from cc_backend.auth.token_keys import TokenKeys
from cc_backend.auth.tokens import Tokens
from cc_backend.auth.users import Users
from cc_backend.cli.init_folder import CONFIG_NAME, create_backend_folder, write_private
from cc_backend.clusters import parse_cluster
from cc_backend.db.database import Database
from cc_backend.db.opening import open_database
from cc_backend.errors import ArchiveError, Conflict, InvalidInput
from cc_backend.migrations import migrate
from cc_backend.settings import BackendSettings, load_settings
from cc_demo.live.plan import SHAPE

LOCAL = "local"
LOGINS = "logins.json"
TOKENS = {"agent": (TokenScope.WRITE, LOCAL), "feed": (TokenScope.WRITE, SHAPE.name), "jobs": (TokenScope.JOBS, "")}
_STATE = "demo.json"
_LAST_TICK = "last-tick"
_OLDER_DEMO = "demo-password"
_DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can sign in, and what that somebody is there to show."""

    name: str
    role: Role
    full_name: str
    sees: str
    projects: tuple[str, ...] = ()


ACCOUNTS = (
    Account("mlindq", Role.USER, "Mia Lindqvist", "her own jobs"),
    Account("rmeyer", Role.MANAGER, "Ruth Meyer", "the jobs of two projects", ("flow-031", "mat-019")),
    Account("hbrandt", Role.SUPPORT, "Helga Brandt", "all jobs"),
    Account("opsadmin", Role.ADMIN, "Otto Peters", "all jobs, and administers"),
)
OWNER, PROJECT = "mlindq", "chem-102"
"""The account of the job that loads this machine."""


class DemoFolder:
    """A folder that holds a demo, or will once it is `prepare`d."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / CONFIG_NAME

    def prepare(self, *, now_s: int, local_cluster: Callable[[], dict[str, Any]]) -> bool:
        """Create what is missing; returns whether everything was. What an interrupted run left is created anew.

        Raises:
            Conflict: the folder holds something else; nothing was changed.
        """
        if self._state().get("complete"):
            return False
        self._clear()
        self.root.mkdir(parents=True, exist_ok=True)
        self._write_state({"complete": False, "anchor_s": now_s})
        create_backend_folder(self.root)
        archive = FileArchive(Path(self.settings().archive.path))
        archive.store_cluster(local_cluster())
        archive.store_cluster(SHAPE.document())
        database = self.open_database()
        try:
            self._make_accounts(database, now_s)
            self._make_tokens(database, now_s)
        finally:
            database.close_all()
        return True

    def renew_local(self, host: str, threads: Collection[int], local_cluster: Callable[[], dict[str, Any]]) -> bool:
        """Describe this machine anew if it has another name or other hardware threads than when it was described last.

        Says whether it did.
        """
        archive = FileArchive(Path(self.settings().archive.path))
        try:
            cluster, _ = parse_cluster(archive.load_cluster(LOCAL), source=LOCAL)
        except (ArchiveError, InvalidInput):
            cluster = None
        found = None if cluster is None else cluster.find_sub_cluster(host)
        if found is not None and set(threads) <= set(found.topology.node):
            return False
        archive.store_cluster(local_cluster())
        return True

    def mark_complete(self) -> None:
        """Mark the folder as complete, so that the next start keeps it."""
        self._write_state({**self._state(), "complete": True})

    @property
    def anchor_s(self) -> int:
        """When the demo was made."""
        return int(self._state()["anchor_s"])

    @property
    def last_tick_s(self) -> int:
        """The newest time of which the made-up cluster has sent samples; 0 before the first."""
        try:
            return int((self.root / _LAST_TICK).read_text("ascii"))
        except (FileNotFoundError, ValueError):
            return 0

    def record_tick(self, time_s: int) -> None:
        """Store up to when samples were sent."""
        (self.root / _LAST_TICK).write_text(f"{time_s}\n", "ascii")

    def settings(self) -> BackendSettings:
        """The settings of the backend, whatever the environment says."""
        return load_settings(self.config, environment={}).value

    def open_database(self) -> Database:
        """The database; close it before the server starts."""
        database = open_database(self.settings().main.db)
        migrate(database)
        return database

    def token_file(self, name: str) -> Path:
        """The file with a token of TOKENS."""
        return self.root / f"{name}-token"

    def passwords(self) -> dict[str, str]:
        """Account -> password."""
        passwords: dict[str, str] = json.loads((self.root / LOGINS).read_text("utf-8"))
        return passwords

    def _make_accounts(self, database: Database, now_s: int) -> None:
        users, passwords = Users(database), {}
        for account in ACCOUNTS:
            passwords[account.name] = secrets.token_urlsafe(9)
            users.add(
                account.name,
                [account.role],
                password=passwords[account.name],
                projects=account.projects,
                full_name=account.full_name,
                now_s=now_s,
            )
        write_private(self.root / LOGINS, json.dumps(passwords, indent=2) + "\n")

    def _make_tokens(self, database: Database, now_s: int) -> None:
        keys = self.settings().auth.jwts
        tokens = Tokens(database, TokenKeys.from_base64(private=keys.private_key, public=keys.public_key))
        users = Users(database)
        for name, (scope, cluster) in TOKENS.items():
            user = users.add(f"demo-{name}", [Role.API], now_s=now_s)
            clusters = [cluster] if cluster else []
            token = tokens.issue(user, None, [scope], clusters, max_age_s=365 * _DAY_S, now_s=now_s)
            write_private(self.token_file(name), token + "\n")

    def _clear(self) -> None:
        """Remove what an interrupted start or an older demo left; never anything else."""
        if not self.root.exists() or not any(self.root.iterdir()):
            return
        if not ((self.root / _STATE).exists() or (self.root / _OLDER_DEMO).exists()):
            raise Conflict(f"{self.root} holds something that is not a demo; choose another --directory")
        shutil.rmtree(self.root)

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.root / _STATE).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return state

    def _write_state(self, state: dict[str, Any]) -> None:
        (self.root / _STATE).write_text(json.dumps(state) + "\n", "utf-8")
