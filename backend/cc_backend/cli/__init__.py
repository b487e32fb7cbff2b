"""The command line of the backend, one module per subject.

Exit status: 0 success; 1 failure; 2 a setting or an argument is wrong.
"""

from typing import Annotated

import typer

from cc_backend.cli import (
    apply_tags,
    archive,
    cluster_diff,
    cluster_propose,
    cluster_show,
    clusters,
    import_db,
    serve,
    sessions,
    store,
    tokens,
    users,
)
from cc_backend.cli.common import new_command_group
from cc_backend.storeservice.cli import app as metric_store_app
from cc_common import __version__

app = new_command_group(
    "The server of ClusterCockpit: takes samples and jobs, keeps them, shows them.", completion=True
)
app.command("init")(serve.init)
app.command("serve")(serve.serve)
app.command("show-config")(serve.show_config)
app.command("capacity")(store.capacity)
app.command("import-checkpoints")(store.import_checkpoints)
app.command("import-db")(import_db.import_db)
app.command("apply-tags")(apply_tags.apply_tags)
app.add_typer(users.app, name="user")
app.add_typer(sessions.app, name="session")
app.add_typer(tokens.app, name="token")
clusters.app.command("show")(cluster_show.cluster_show)
clusters.app.command("diff")(cluster_diff.cluster_diff)
clusters.app.command("propose")(cluster_propose.cluster_propose)
app.add_typer(clusters.app, name="cluster")
app.add_typer(archive.app, name="archive")
app.add_typer(metric_store_app, name="metric-store")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The server of ClusterCockpit: takes samples and jobs, keeps them, shows them."""


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


__all__ = (
    "app",
    "init_folder",
)
