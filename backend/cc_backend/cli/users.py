"""Commands for the accounts of people."""

import getpass
import secrets
import sys
import time
from typing import Annotated

import typer

from cc_backend.auth.users import User, Users
from cc_backend.cli.common import DEFAULT_CONFIG, Config, load_config, new_command_group, opened_database, print_table
from cc_backend.errors import InvalidInput

app = new_command_group("Accounts of people.")
role_app = new_command_group("Roles of an account: user, manager, support, admin, api.")
project_app = new_command_group("Projects whose jobs a manager sees.")
app.add_typer(role_app, name="role")
app.add_typer(project_app, name="project")

Name = Annotated[str, typer.Argument(help="The name of the account.")]
RoleName = Annotated[str, typer.Argument(help="user, manager, support, admin or api.")]
Project = Annotated[str, typer.Argument(help="The name of the project.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make up a password and print it.")]


@app.command("add")
def user_add(
    name: Name,
    config: Config = DEFAULT_CONFIG,
    role: Annotated[list[str] | None, typer.Option(help="user, manager, support, admin or api; repeatable.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="A project that a manager sees; repeatable.")] = None,
    full_name: Annotated[str, typer.Option(help="The person's name.")] = "",
    email: Annotated[str, typer.Option(help="The person's address.")] = "",
    generate: Generate = False,
) -> None:
    """Make an account; the password is asked for, or read from standard input."""
    password = secrets.token_urlsafe(12) if generate else _ask_password(name)
    with opened_database(load_config(config).value) as database:
        Users(database).add(
            name,
            role or ["user"],
            password=password,
            projects=project or [],
            full_name=full_name,
            email=email,
            now_s=int(time.time()),
        )
    if generate:
        typer.echo(password)


@app.command("list")
def user_list(config: Config = DEFAULT_CONFIG) -> None:
    """Print all accounts: name, roles, projects, where they come from, whether they are disabled."""
    with opened_database(load_config(config).value) as database:
        rows = [
            (user.name, _roles(user), _projects(user), user.source, "disabled" if user.disabled else "active")
            for user in Users(database).list()
        ]
    print_table(("NAME", "ROLES", "PROJECTS", "SOURCE", "STATE"), rows)


@app.command("del")
def user_del(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Remove an account; its logins and tokens end at once, its jobs stay."""
    with opened_database(load_config(config).value) as database:
        Users(database).remove(name, now_s=time.time())


@app.command("password")
def user_password(name: Name, config: Config = DEFAULT_CONFIG, generate: Generate = False) -> None:
    """Set a new password, asked for or read from standard input; logins end at once, tokens stay."""
    with opened_database(load_config(config).value) as database:
        users = Users(database)
        users.get(name)  # fail before a password is typed
        password = secrets.token_urlsafe(12) if generate else _ask_password(name)
        users.set_password(name, password)
    if generate:
        typer.echo(password)


@app.command("disable")
def user_disable(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Close an account until it is enabled: its logins end at once, its tokens open nothing meanwhile."""
    with opened_database(load_config(config).value) as database:
        Users(database).disable(name, now_s=time.time())


@app.command("enable")
def user_enable(name: Name, config: Config = DEFAULT_CONFIG) -> None:
    """Open an account that was disabled."""
    with opened_database(load_config(config).value) as database:
        Users(database).enable(name)


@role_app.command("add")
def role_add(name: Name, role: RoleName, config: Config = DEFAULT_CONFIG) -> None:
    """Give an account one role more; logins have it at once, tokens only those that were issued with it."""
    with opened_database(load_config(config).value) as database:
        typer.echo(_roles(Users(database).add_role(name, role)))


@role_app.command("remove")
def role_remove(name: Name, role: RoleName, config: Config = DEFAULT_CONFIG) -> None:
    """Take a role from an account; logins and tokens lose it at once."""
    with opened_database(load_config(config).value) as database:
        typer.echo(_roles(Users(database).remove_role(name, role)))


@project_app.command("add")
def project_add(name: Name, project: Project, config: Config = DEFAULT_CONFIG) -> None:
    """Let a manager see the jobs of one project more."""
    with opened_database(load_config(config).value) as database:
        typer.echo(_projects(Users(database).add_project(name, project)))


@project_app.command("remove")
def project_remove(name: Name, project: Project, config: Config = DEFAULT_CONFIG) -> None:
    """Let a manager no longer see the jobs of a project."""
    with opened_database(load_config(config).value) as database:
        typer.echo(_projects(Users(database).remove_project(name, project)))


def _roles(user: User) -> str:
    return ",".join(sorted(user.roles)) or "-"


def _projects(user: User) -> str:
    return ",".join(user.projects) or "-"


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise InvalidInput("the two passwords differ; nothing was changed")
    return password
