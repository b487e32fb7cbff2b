"""Commands for the accounts of people."""

import getpass
import secrets
import sys
import time
from typing import Annotated

import typer

from cc_backend.auth.users import Users
from cc_backend.cli.common import DEFAULT_CONFIG, Config, load, new_app, opened_database, print_table
from cc_backend.errors import InvalidInput

app = new_app("Accounts of people.")


@app.command("add")
def user_add(
    name: str,
    config: Config = DEFAULT_CONFIG,
    role: Annotated[list[str] | None, typer.Option(help="user, manager, support, admin or api; repeatable.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="A project that a manager sees; repeatable.")] = None,
    full_name: Annotated[str, typer.Option(help="The person's name.")] = "",
    email: Annotated[str, typer.Option()] = "",
    generate: Annotated[bool, typer.Option("--generate", help="Make up a password and print it.")] = False,
) -> None:
    """Make an account; the password is asked for, or read from standard input."""
    password = secrets.token_urlsafe(12) if generate else _ask_password(name)
    with opened_database(load(config).value) as database:
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
    """Print all accounts: name, roles, projects, where they come from."""
    with opened_database(load(config).value) as database:
        print_table(
            ("NAME", "ROLES", "PROJECTS", "SOURCE"),
            [
                (user.name, ",".join(sorted(user.roles)), ",".join(user.projects) or "-", user.source)
                for user in Users(database).list()
            ],
        )


@app.command("del")
def user_del(name: str, config: Config = DEFAULT_CONFIG) -> None:
    """Remove an account; its logins end at once, its jobs stay."""
    with opened_database(load(config).value) as database:
        Users(database).remove(name, now_s=time.time())


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Once more: ") != password:
        raise InvalidInput("the two passwords differ; nothing was changed")
    return password
