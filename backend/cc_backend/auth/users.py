"""Accounts: names, roles, projects, passwords."""

import logging
import secrets
from collections.abc import Collection
from dataclasses import dataclass

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from cc_backend.auth.caller import Role
from cc_backend.auth.tables import SessionRow, UserRow
from cc_backend.auth.throttle import Throttle
from cc_backend.database import Database
from cc_backend.errors import Conflict, InvalidInput, NotAuthenticated, NotFound
from cc_common.errorcodes import ErrorCode

logger = logging.getLogger(__name__)

MINIMUM_PASSWORD_LENGTH = 8
MAXIMUM_PASSWORD_LENGTH = 1024  # a longer one only costs the server time
MAXIMUM_NAME_LENGTH = 100
# Tags are private to the user whose name is their scope: these names are scopes already, or would read like one.
RESERVED_NAMES = frozenset({"global", "admin", "private", "anonymous", ".", ".."})
LOGIN_FAILED = "unknown user or wrong password"
_FORBIDDEN_IN_NAMES = frozenset("/:,")


def password_hasher() -> argon2.PasswordHasher:
    """Argon2id with 19 MiB and two passes, the least that OWASP's password storage sheet asks for.

    The memory is per login that runs at the moment; more would let a handful of logins push a small server around.
    """
    return argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@dataclass(frozen=True, slots=True)
class User:
    """One account. `source` is local, ldap, token or oidc; `projects` are those a manager may see."""

    name: str
    roles: frozenset[str]
    projects: tuple[str, ...] = ()
    full_name: str = ""
    email: str = ""
    source: str = "local"


class Users:
    """The accounts of the database."""

    def __init__(
        self,
        database: Database,
        *,
        hasher: argon2.PasswordHasher | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._database = database
        self._hasher = hasher or password_hasher()
        self._throttle = Throttle() if throttle is None else throttle  # an empty one is false
        self._dummy_hash: str | None = None

    def add(
        self,
        name: str,
        roles: Collection[str],
        *,
        password: str | None = None,
        projects: Collection[str] = (),
        full_name: str = "",
        email: str = "",
        source: str = "local",
        now_s: int = 0,
    ) -> User:
        """The new account. Without a password nobody can log in with it, which suits service accounts.

        Raises:
            InvalidInput: the name, a role, a project or the password is not allowed; the text says why.
            Conflict: the name is taken.
        """
        check_name(name)
        user = User(name, _checked_roles(roles), _checked_projects(roles, projects), full_name, email, source)
        hashed = None if password is None else self._hash(password)
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
            return user_of(row)
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
        """All accounts by name."""
        return [user_of(row) for row in UserRow.select().order_by(UserRow.name).execute(self._database)]

    def remove(self, name: str) -> None:
        """Removes an account; its logins end with it, its jobs stay.

        Raises:
            NotFound: there is none.
            Conflict: it is the last administrator.
        """
        with self._database.write():
            self._keep_an_administrator(self.get(name), without=name)
            UserRow.delete().where(UserRow.name == name).execute(self._database)
        logger.info("removed user=%s", name)

    def set_password(self, name: str, password: str) -> None:
        """Changes a password and ends all logins of the account.

        Raises:
            NotFound: there is no such account.
            InvalidInput: the password is too short or too long.
        """
        hashed = self._hash(password)
        with self._database.write():
            self.get(name)
            UserRow.update(password=hashed).where(UserRow.name == name).execute(self._database)
            SessionRow.delete().where(SessionRow.user == name).execute(self._database)
        logger.info("changed password user=%s", name)

    def add_role(self, name: str, role: str) -> User:
        """The account with one role more.

        Raises:
            NotFound: there is no such account.
            InvalidInput: there is no such role.
            Conflict: the account has the role.
        """
        role = role.lower()
        _checked_roles([role])
        with self._database.write():
            user = self.get(name)
            if role in user.roles:
                raise Conflict(f"the account '{name}' has the role '{role}' already")
            return self._update(user, roles=user.roles | {role}, projects=user.projects)

    def remove_role(self, name: str, role: str) -> User:
        """The account with one role less.

        Raises:
            NotFound: there is no such account.
            Conflict: the account lacks the role, is the last administrator, or manages projects still.
        """
        role = role.lower()
        with self._database.write():
            user = self.get(name)
            if role not in user.roles:
                raise Conflict(f"the account '{name}' does not have the role '{role}'")
            if role == Role.MANAGER and user.projects:
                raise Conflict(f"the account '{name}' manages projects; remove these first")
            if role == Role.ADMIN:
                self._keep_an_administrator(user, without=name)
            return self._update(user, roles=user.roles - {role}, projects=user.projects)

    def add_project(self, name: str, project: str) -> User:
        """The manager's account with one project more.

        Raises:
            NotFound: there is no such account.
            InvalidInput: the project has no name.
            Conflict: the account is no manager or has the project.
        """
        with self._database.write():
            user = self._manager(name)
            if project in user.projects:
                raise Conflict(f"the account '{name}' manages the project '{project}' already")
            projects = _checked_projects(user.roles, {*user.projects, project})
            return self._update(user, roles=user.roles, projects=projects)

    def remove_project(self, name: str, project: str) -> User:
        """The manager's account with one project less.

        Raises:
            NotFound: there is no such account.
            Conflict: the account is no manager or lacks the project.
        """
        with self._database.write():
            user = self._manager(name)
            if project not in user.projects:
                raise Conflict(f"the account '{name}' does not manage the project '{project}'")
            projects = tuple(other for other in user.projects if other != project)
            return self._update(user, roles=user.roles, projects=projects)

    def verify_password(self, name: str, password: str, now_s: float, *, address: str = "") -> User:
        """The account that this name and password belong to; `address` is where the try came from.

        Unknown names cost the same time and get the same answer as wrong passwords.

        Raises:
            NotAuthenticated: they do not fit, or the account is for programs only.
            TooMany: too many failures for this account or from this address.
        """
        account = name[:MAXIMUM_NAME_LENGTH]  # what is typed may be of any length, what is remembered may not
        self._throttle.take(account, address, now_s=now_s)
        row = self._row(name)
        stored: str | None = row.password if row is not None else None
        fits = self._fits(stored or self._dummy(), password)
        if row is None or stored is None or not fits:
            logger.warning("login failed user=%r address=%s", account, address or "-")
            raise NotAuthenticated(LOGIN_FAILED, code=ErrorCode.LOGIN_FAILED)
        self._throttle.give_back(account, address, now_s=now_s)
        user = user_of(row)
        if user.roles == {Role.API}:
            text = f"the account '{name}' is for programs; log in with another one"
            raise NotAuthenticated(text, code=ErrorCode.WRONG_CALLER)
        if self._hasher.check_needs_rehash(stored):
            with self._database.write():
                UserRow.update(password=self._hasher.hash(password)).where(UserRow.name == name).execute(self._database)
        logger.info("login user=%s address=%s", name, address or "-")
        return user

    def _row(self, name: str) -> UserRow | None:
        for row in UserRow.select().where(UserRow.name == name).execute(self._database):
            found: UserRow = row
            return found
        return None

    def _dummy(self) -> str:
        """A hash of nothing anybody knows, so that an unknown name takes as long as a wrong password."""
        if self._dummy_hash is None:
            self._dummy_hash = self._hasher.hash(secrets.token_hex(16))
        return self._dummy_hash

    def _fits(self, stored: str, password: str) -> bool:
        # A password that is too long was refused when it was set; hash something all the same.
        try:
            return self._hasher.verify(stored, password[:MAXIMUM_PASSWORD_LENGTH])
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError, UnicodeEncodeError):
            logger.warning("a stored password hash cannot be read, or a typed password has no bytes")
            return False

    def _hash(self, password: str) -> str:
        if len(password) < MINIMUM_PASSWORD_LENGTH:
            raise InvalidInput(f"the password is too short: use {MINIMUM_PASSWORD_LENGTH} characters or more")
        if len(password) > MAXIMUM_PASSWORD_LENGTH:
            raise InvalidInput(f"the password is too long: use at most {MAXIMUM_PASSWORD_LENGTH} characters")
        try:
            return self._hasher.hash(password)
        except UnicodeEncodeError as error:
            raise InvalidInput("the password holds characters that have no bytes") from error

    def _manager(self, name: str) -> User:
        user = self.get(name)
        if Role.MANAGER not in user.roles:
            raise Conflict(f"the account '{name}' is no manager; only managers have projects")
        return user

    def _update(self, user: User, *, roles: Collection[str], projects: tuple[str, ...]) -> User:
        UserRow.update(roles=sorted(roles), projects=list(projects)).where(UserRow.name == user.name).execute(
            self._database
        )
        logger.info("changed user=%s roles=%s projects=%s", user.name, ",".join(sorted(roles)), ",".join(projects))
        return self.get(user.name)

    def _keep_an_administrator(self, user: User, *, without: str) -> None:
        if Role.ADMIN not in user.roles:
            return
        if not any(Role.ADMIN in other.roles for other in self.list() if other.name != without):
            raise Conflict(f"'{without}' is the last administrator; make another one first")


def user_of(row: UserRow) -> User:
    """The account in a row of the database."""
    return User(
        name=str(row.name),
        roles=frozenset(row.roles),
        projects=tuple(row.projects),
        full_name=str(row.full_name),
        email=str(row.email),
        source=str(row.source),
    )


def check_name(name: str) -> None:
    """Returns when an account may have this name: it appears in addresses, host lists and tag scopes.

    Raises:
        InvalidInput: it may not; the text says why.
    """
    if not name or len(name) > MAXIMUM_NAME_LENGTH:
        raise InvalidInput(f"a user name has 1 to {MAXIMUM_NAME_LENGTH} characters")
    if not name.isprintable() or any(letter.isspace() or letter in _FORBIDDEN_IN_NAMES for letter in name):
        raise InvalidInput(f"the user name {name!r} may hold no blanks, control characters, '/', ':' or ','")
    if name.lower() in RESERVED_NAMES:
        raise InvalidInput(f"the user name '{name}' is reserved; take another one")


def _checked_roles(roles: Collection[str]) -> frozenset[str]:
    assignable = [role.value for role in Role if role is not Role.ANONYMOUS]
    for role in roles:
        if role not in assignable:
            raise InvalidInput(f"there is no role '{role}'; roles are {', '.join(assignable)}")
    return frozenset(roles)


def _checked_projects(roles: Collection[str], projects: Collection[str]) -> tuple[str, ...]:
    if projects and Role.MANAGER not in roles:
        raise InvalidInput("only an account with the role 'manager' has projects")
    for project in projects:
        if not project or not project.isprintable():
            raise InvalidInput(f"{project!r} is no project name")
    return tuple(sorted(set(projects)))
