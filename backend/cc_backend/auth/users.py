"""Accounts: names, roles, projects, passwords."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import argon2

from cc_backend.auth.caller import Role
from cc_backend.auth.imported_passwords import is_imported_hash
from cc_backend.auth.login_throttle import LoginAttempt, LoginThrottle
from cc_backend.auth.passwords import HashSlots, LoginsBusy, Passwords
from cc_backend.auth.tables import KnownBrowserRow, RemovedUserRow, SessionRow, TokenRow, UserRow
from cc_backend.db.database import Database
from cc_backend.db.fields import stored_strings
from cc_backend.errors import Conflict, InvalidInput, NotAuthenticated, NotFound
from cc_common.error_codes import ErrorCode

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 100
# Private tags have the user's name as scope: these names are scopes, or would look like one.
RESERVED_NAMES = frozenset({"global", "admin", "private", "anonymous", ".", ".."})
LOGIN_FAILED = "unknown user or wrong password"
_FORBIDDEN_IN_NAMES = frozenset("/:,")
_BATCH = 900  # variables in a statement


@dataclass(frozen=True, slots=True)
class User:
    """One account. `source` is local, ldap, token or oidc; `projects` are those that a manager may see.

    A disabled account cannot log in, and its tokens are rejected.
    """

    name: str
    roles: frozenset[str]
    projects: tuple[str, ...] = ()
    full_name: str = ""
    email: str = ""
    source: str = "local"
    disabled: bool = False


class Users:
    """The accounts of the database."""

    def __init__(
        self,
        database: Database,
        *,
        hasher: argon2.PasswordHasher | None = None,
        throttle: LoginThrottle | None = None,
        slots: HashSlots | None = None,
    ) -> None:
        self._database = database
        self._passwords = Passwords(hasher)
        self._throttle = LoginThrottle() if throttle is None else throttle  # an empty throttle is falsy
        self._slots = slots or HashSlots()

    def add(
        self,
        name: str,
        roles: Collection[str],
        *,
        password: str | None = None,
        password_hash: str | None = None,
        projects: Collection[str] = (),
        full_name: str = "",
        email: str = "",
        source: str = "local",
        now_s: int = 0,
    ) -> User:
        """Create an account. Without a password it cannot log in, as intended for service accounts.

        `password_hash` is the hash of a password from ClusterCockpit 1.5, see `imported_passwords`.

        Raises:
            InvalidInput: the name, a role, a project or the password is not allowed; the text says why.
            Conflict: the name is taken.
        """
        validate_name(name)
        user = User(name, _validated_roles(roles), _validated_projects(roles, projects), full_name, email, source)
        if password_hash is not None and not is_imported_hash(password_hash):
            raise InvalidInput("the password hash is not one of ClusterCockpit 1.5 (bcrypt, cost 4 to 14)")
        hashed = password_hash if password is None else self._passwords.hash(password)
        with self._database.write():
            if self.find(name) is not None:
                raise Conflict(f"the account '{name}' exists already")
            UserRow.insert(
                name=name,
                password=hashed,
                source=source,
                full_name=full_name,
                email=email,
                roles=sorted(user.roles),
                projects=list(user.projects),
                created_s=now_s,
            ).execute(self._database)
        logger.info("added user=%s roles=%s source=%s", name, ",".join(sorted(user.roles)), source)
        return user

    def find(self, name: str) -> User | None:
        """The account of that name, or None."""
        for row in UserRow.select().where(UserRow.name == name).execute(self._database):
            return user_from_row(row)
        return None

    def get(self, name: str) -> User:
        """The account of that name.

        Raises:
            NotFound: there is none.
        """
        user = self.find(name)
        if user is None:
            raise NotFound(f"there is no account '{name}'")
        return user

    def list(self) -> list[User]:
        """All accounts, sorted by name."""
        return [user_from_row(row) for row in UserRow.select().order_by(UserRow.name).execute(self._database)]

    def remove(self, name: str, *, now_s: float) -> None:
        """Remove an account with its sessions, and revoke its tokens; its jobs stay.

        Raises:
            NotFound: there is none.
            Conflict: it is the last administrator.
        """
        with self._database.write():
            self._require_other_administrator(self.get(name))
            UserRow.delete().where(UserRow.name == name).execute(self._database)
            # A later account of the same name must not revive the tokens of this one.
            TokenRow.update(revoked_s=int(now_s)).where(TokenRow.user == name, TokenRow.revoked_s.is_null()).execute(
                self._database
            )
            RemovedUserRow.insert(name=name, removed_s=int(now_s)).on_conflict(
                conflict_target=(RemovedUserRow.name,), preserve=(RemovedUserRow.removed_s,)
            ).execute(self._database)
        logger.info("removed user=%s", name)

    def disable(self, name: str, *, now_s: float) -> User:
        """Disable an account until it is enabled again: its sessions end, its tokens are rejected meanwhile.

        Raises:
            NotFound: there is none.
            Conflict: it is disabled already, or the last administrator.
        """
        with self._database.write():
            user = self.get(name)
            if user.disabled:
                raise Conflict(f"the account '{name}' is disabled already")
            self._require_other_administrator(user)
            UserRow.update(disabled_s=int(now_s)).where(UserRow.name == name).execute(self._database)
            self._end_logins(name)
            logger.info("disabled user=%s", name)
            return self.get(name)

    def enable(self, name: str) -> User:
        """Enable a disabled account.

        Raises:
            NotFound: there is none.
            Conflict: it is not disabled.
        """
        with self._database.write():
            if not self.get(name).disabled:
                raise Conflict(f"the account '{name}' is not disabled")
            UserRow.update(disabled_s=None).where(UserRow.name == name).execute(self._database)
            logger.info("enabled user=%s", name)
            return self.get(name)

    def set_password(self, name: str, password: str) -> None:
        """Change a password, end all sessions of the account, and forget its known browsers.

        Raises:
            NotFound: there is no such account.
            InvalidInput: the password is too short or too long.
        """
        hashed = self._passwords.hash(password)
        with self._database.write():
            self.get(name)
            UserRow.update(password=hashed).where(UserRow.name == name).execute(self._database)
            self._end_logins(name)
        logger.info("changed password user=%s", name)

    def add_role(self, name: str, role: str) -> User:
        """Add a role to an account.

        Raises:
            NotFound: there is no such account.
            InvalidInput: there is no such role.
            Conflict: the account has the role.
        """
        role = role.lower()
        _validated_roles([role])
        with self._database.write():
            user = self.get(name)
            if role in user.roles:
                raise Conflict(f"the account '{name}' has the role '{role}' already")
            return self._update(user, roles=user.roles | {role}, projects=user.projects)

    def remove_role(self, name: str, role: str) -> User:
        """Remove a role from an account.

        Raises:
            NotFound: there is no such account.
            Conflict: the account lacks the role, is the last administrator, still manages projects, or would become a
                service account.
        """
        role = role.lower()
        with self._database.write():
            user = self.get(name)
            if role not in user.roles:
                raise Conflict(f"the account '{name}' does not have the role '{role}'")
            if role == Role.MANAGER and user.projects:
                raise Conflict(f"the account '{name}' manages projects; remove these first")
            if role == Role.ADMIN:
                self._require_other_administrator(user)
            if user.roles - {role} == {Role.API}:
                text = (
                    f"'{name}' would have the role 'api' alone, which sees all jobs; remove that role, or the account"
                )
                raise Conflict(text)
            return self._update(user, roles=user.roles - {role}, projects=user.projects)

    def add_project(self, name: str, project: str) -> User:
        """Add a project to a manager's account.

        Raises:
            NotFound: there is no such account.
            InvalidInput: the project has no name.
            Conflict: the account is not a manager, or has the project.
        """
        with self._database.write():
            user = self._manager(name)
            if project in user.projects:
                raise Conflict(f"the account '{name}' manages the project '{project}' already")
            projects = _validated_projects(user.roles, {*user.projects, project})
            return self._update(user, roles=user.roles, projects=projects)

    def remove_project(self, name: str, project: str) -> User:
        """Remove a project from a manager's account.

        Raises:
            NotFound: there is no such account.
            Conflict: the account is not a manager, or lacks the project.
        """
        with self._database.write():
            user = self._manager(name)
            if project not in user.projects:
                raise Conflict(f"the account '{name}' does not manage the project '{project}'")
            projects = tuple(other for other in user.projects if other != project)
            return self._update(user, roles=user.roles, projects=projects)

    def verify_password(self, name: str, password: str, now_s: float, *, address: str = "", browser: str = "") -> User:
        """The account with this name and password.

        `address` is the client's, `browser` the result of `KnownBrowsers.identify`. Unknown names take the same time
        and get the same response as wrong passwords.

        Raises:
            NotAuthenticated: the password is wrong, or the account is disabled or for programs only.
            TooManyRequests: too many failures for this account, from this address, or of both.
            LoginsBusy: too many concurrent logins.
        """
        account = name[:MAX_NAME_LENGTH]  # a typed name may be of any length, a remembered one may not
        taken = self._throttle.consume(LoginAttempt(account, address, browser), now_s=now_s)
        row = self._row(name)
        stored: str | None = row.password if row is not None else None
        try:
            has_imported = self._has_imported_hashes()
            with self._slots.slot(known_browser=bool(browser)):
                fits = self._passwords.matches(stored, password, has_imported=has_imported)
        except LoginsBusy:
            self._throttle.refund(taken, now_s=now_s)
            raise
        if row is None or stored is None or not fits or row.disabled_s is not None:
            logger.warning("login failed user=%r address=%s", account, address or "-")
            raise NotAuthenticated(LOGIN_FAILED, code=ErrorCode.LOGIN_FAILED)
        self._throttle.refund(taken, now_s=now_s)
        user = user_from_row(row)
        if user.roles == {Role.API}:
            text = f"the account '{name}' is for programs; log in with another one"
            raise NotAuthenticated(text, code=ErrorCode.LOGIN_FAILED)
        renewed = self._passwords.rehash_if_outdated(stored, password)
        if renewed is not None:
            with self._database.write():
                UserRow.update(password=renewed).where(UserRow.name == name).execute(self._database)
        logger.info("login user=%s address=%s", name, address or "-")
        return user

    def find_by_real_name(self, text: str, *, limit: int = 50) -> tuple[str, ...]:
        """The names of accounts whose real name contains the text, sorted, at most `limit`."""
        rows = UserRow.select(UserRow.name).where(UserRow.full_name.contains(text)).order_by(UserRow.name).limit(limit)
        return tuple(str(name) for (name,) in rows.tuples().execute(self._database))

    def real_names(self, names: Sequence[str]) -> dict[str, str]:
        """Account -> real name, of those of these accounts that exist and have one."""
        found: dict[str, str] = {}
        for begin in range(0, len(names), _BATCH):
            some = UserRow.name.in_(names[begin : begin + _BATCH])
            rows = UserRow.select(UserRow.name, UserRow.full_name).where(some, UserRow.full_name != "")
            found.update(rows.tuples().execute(self._database))
        return found

    def _has_imported_hashes(self) -> bool:
        """Whether an account still has a password hash of ClusterCockpit 1.5."""
        query = UserRow.select(UserRow.name).where(UserRow.password.startswith("$2")).limit(1)
        return query.scalar(self._database) is not None

    def _row(self, name: str) -> UserRow | None:
        for row in UserRow.select().where(UserRow.name == name).execute(self._database):
            found: UserRow = row
            return found
        return None

    def _manager(self, name: str) -> User:
        user = self.get(name)
        if Role.MANAGER not in user.roles:
            raise Conflict(f"the account '{name}' is not a manager; only managers have projects")
        return user

    def _update(self, user: User, *, roles: Collection[str], projects: tuple[str, ...]) -> User:
        UserRow.update(roles=sorted(roles), projects=list(projects)).where(UserRow.name == user.name).execute(
            self._database
        )
        logger.info("changed user=%s roles=%s projects=%s", user.name, ",".join(sorted(roles)), ",".join(projects))
        return self.get(user.name)

    def _end_logins(self, name: str) -> None:
        for rows in (SessionRow, KnownBrowserRow):
            rows.delete().where(rows.user == name).execute(self._database)

    def _require_other_administrator(self, user: User) -> None:
        if Role.ADMIN not in user.roles or user.disabled:
            return
        others = (other for other in self.list() if other.name != user.name and not other.disabled)
        if not any(Role.ADMIN in other.roles for other in others):
            raise Conflict(f"'{user.name}' is the last administrator; make another one first")


def user_from_row(row: UserRow) -> User:
    """The account of a database row."""
    return User(
        name=str(row.name),
        roles=frozenset(stored_strings(row.roles)),
        projects=stored_strings(row.projects),
        full_name=str(row.full_name),
        email=str(row.email),
        source=str(row.source),
        disabled=row.disabled_s is not None,
    )


def validate_name(name: str) -> None:
    """Return if an account may have this name, which appears in URLs, host lists and tag scopes.

    Raises:
        InvalidInput: the name is not allowed; the text says why.
    """
    if not name or len(name) > MAX_NAME_LENGTH:
        raise InvalidInput(f"a user name has 1 to {MAX_NAME_LENGTH} characters")
    if not name.isprintable() or any(letter.isspace() or letter in _FORBIDDEN_IN_NAMES for letter in name):
        raise InvalidInput(f"the user name {name!r} may not contain blanks, control characters, '/', ':' or ','")
    if name.lower() in RESERVED_NAMES:
        raise InvalidInput(f"the user name '{name}' is reserved; take another one")


def _validated_roles(roles: Collection[str]) -> frozenset[str]:
    assignable = [role.value for role in Role if role is not Role.ANONYMOUS]
    for role in roles:
        if role not in assignable:
            raise InvalidInput(f"there is no role '{role}'; roles are {', '.join(assignable)}")
    return frozenset(roles)


def _validated_projects(roles: Collection[str], projects: Collection[str]) -> tuple[str, ...]:
    if projects and Role.MANAGER not in roles:
        raise InvalidInput("only an account with the role 'manager' has projects")
    for project in projects:
        if not project or not project.isprintable():
            raise InvalidInput(f"{project!r} is not a valid project name")
    return tuple(sorted(set(projects)))
