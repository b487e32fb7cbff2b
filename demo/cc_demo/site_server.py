"""Serves the site on a free port of this machine, from a folder that may be removed afterwards."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from cc_backend.app import create_app
from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.token_keys import generate_keys
from cc_backend.maintenance.running_footprints import FootprintRefresher
from cc_backend.services import EXTENSION, Services
from cc_backend.settings import LEGACY_KEYS, BackendSettings
from cc_common.settings import load
from cc_demo.fill_site import fill_site
from cc_demo.site_jobs import EVERYDAY_JOBS, SITE, SiteJob

USER = "hbrandt"
PASSWORD = "cockpit-demo"  # noqa: S105 - of a server that lives for seconds
_LONG_ENOUGH_S = 600.0


def demo_app(home: Path, jobs: Iterable[SiteJob] = EVERYDAY_JOBS) -> Flask:
    """The application with jobs of the site and one account of the support staff; close its services after use."""
    FileArchive.create(home / "job-archive").store_cluster(SITE.document())
    (home / "metric-store").mkdir()
    private, public = generate_keys()
    document = {
        "main": {"db": "job.db"},
        "auth": {"jwts": {"private-key": private, "public-key": public}},
        "archive": {"path": "job-archive"},
        "metric-store": {"wal": {"directory": "metric-store", "fsync": "never"}},
    }
    app = create_app(load(BackendSettings, document, source="demo", base_directory=home, legacy=LEGACY_KEYS).value)
    services: Services = app.extensions[EXTENSION]
    services.users.add(USER, ("user", "support"), password=PASSWORD, full_name="Helga Brandt")
    fill_site(services, jobs)
    judge_all(services)
    return app


def judge_all(services: Services) -> None:
    """Judge all jobs, as the periodic work does that this server does not have."""
    refresher = FootprintRefresher(services.running_jobs, services.metric_data, services.clusters, services.judge)
    refresher.step(now_s=services.now_s(), budget_s=_LONG_ENOUGH_S)
    while services.judge.judge_outdated(now_s=services.now_s()):
        pass


@contextmanager
def served(home: Path, jobs: Iterable[SiteJob] = EVERYDAY_JOBS) -> Iterator[str]:
    """The address of a server of the site, as long as the block runs."""
    with listening(demo_app(home, jobs)) as address:
        yield address


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """The address of a server of the application, as long as the block runs; its services are closed at the end."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions[EXTENSION].close()


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""
