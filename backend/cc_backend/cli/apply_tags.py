"""The command that gives jobs the tags of applications and job classes anew."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cc_backend.archive.file_archive import FileArchive
from cc_backend.cli.common import (
    DEFAULT_CONFIG,
    Config,
    configured_clusters,
    load_config,
    nearest_name_hint,
    opened_database,
)
from cc_backend.errors import BackendError, InvalidInput
from cc_backend.runtime.log import configure_logging
from cc_backend.taggers.detectors import APPLICATION_TAGS, CLASS_TAGS

_PROGRESS_EVERY_S = 2.0
_DAY_S = 86400
_MAX_DAYS = 36_500


class TagType(StrEnum):
    """What is looked for, as the type of the tags."""

    APPLICATION = APPLICATION_TAGS
    CLASS = CLASS_TAGS


def apply_tags(
    config: Config = DEFAULT_CONFIG,
    type_: Annotated[
        list[TagType] | None,
        typer.Option("--type", help="Type of the tags to look for; all if not given. Can be repeated."),
    ] = None,
    cluster: Annotated[str, typer.Option(help="Only jobs of this cluster.")] = "",
    user: Annotated[str, typer.Option(help="Only jobs of this user.")] = "",
    project: Annotated[str, typer.Option(help="Only jobs of this project.")] = "",
    days: Annotated[
        int, typer.Option(help="Only jobs that started in the last days; 0 for all.", min=0, max=_MAX_DAYS)
    ] = 0,
) -> None:
    """Tag jobs with their applications and classes anew, by the files of today; the server may run meanwhile.

    Tags that were set so before and do not fit any more are removed, tags that people set are not.
    """
    from cc_backend.app import open_clusters  # noqa: PLC0415 - the other commands need none
    from cc_backend.clusters import ClusterFiles  # noqa: PLC0415
    from cc_backend.jobdata.job_tagger import JobTagger, open_detectors  # noqa: PLC0415
    from cc_backend.jobs.filters import JobFilter  # noqa: PLC0415
    from cc_backend.startup.database_opening import record_generations  # noqa: PLC0415

    configure_logging()
    settings = load_config(config).value
    if cluster and cluster not in (known := configured_clusters(settings)):
        raise InvalidInput(f"--cluster: there is no cluster {cluster[:60]!r}{nearest_name_hint(cluster, known)}")
    now_s = int(time.time())
    wanted = JobFilter(
        clusters=(cluster,) if cluster else (),
        users=(user,) if user else (),
        projects=(project,) if project else (),
        started_from_s=now_s - days * _DAY_S if days else None,
    )
    clusters = open_clusters(ClusterFiles(Path(settings.archive.path)))
    with opened_database(settings) as database:
        record_generations(database, clusters, now_s=now_s)
        tagger = JobTagger(
            database=database,
            clusters=clusters,
            archive=FileArchive(Path(settings.archive.path)),
            detectors=open_detectors(settings.main.job_taggers),
        )
        result = tagger.tag_matching(wanted, now_s=now_s, types=type_ or tuple(TagType), progress=_Progress().show)
    typer.echo(f"jobs={result.examined} changed={result.changed} failed={result.failed}")
    if result.failed:
        raise BackendError(f"the archive of {result.failed} jobs cannot be read; the log names the first of them")


class _Progress:
    """Says now and then how many jobs are done."""

    def __init__(self) -> None:
        self._shown_s = time.monotonic()

    def show(self, done: int, total: int) -> None:
        if time.monotonic() - self._shown_s >= _PROGRESS_EVERY_S:
            self._shown_s = time.monotonic()
            typer.echo(f"jobs={done} of={total}", err=True)
