"""A wheel, and a Python 3.9 to try it with."""

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution as anyone would build it without a compiler, from a copy of the sources."""
    return built(repository, tmp_path_factory.mktemp("wheel"), CC="there-is-no-such-compiler")


@pytest.fixture(scope="session")
def native_wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution built with a compiler."""
    if shutil.which(sysconfig.get_config_var("CC").split()[0]) is None:
        pytest.skip("there is no C compiler")
    return built(repository, tmp_path_factory.mktemp("native-wheel"))


def built(repository: Path, folder: Path, **environment: str) -> Path:
    source = folder / "source"
    # also what other tests write meanwhile
    left_out = (".git", ".venv", "node_modules", "build", "dist", "*.egg-info", ".*cache", ".hypothesis", "*.so")
    shutil.copytree(repository, source, ignore=shutil.ignore_patterns("__pycache__", *left_out))
    done = subprocess.run(
        [repository / ".venv/bin/python", "-m", "build", "--wheel", "--outdir", folder / "dist", source],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (path,) = (folder / "dist").glob("*.whl")
    return path


@dataclass(frozen=True)
class Python39:
    """An interpreter, perhaps inside a root folder of its own; `outside` is where its files are seen from here."""

    command: tuple[str, ...]
    outside: Path
    inside: Path

    def run(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run the interpreter of the virtual environment `venv`."""
        return self._run(str(self.inside / "venv/bin/python"), *arguments, timeout_s=timeout_s)

    def program(self, name: str, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command that was installed into the virtual environment."""
        return self._run(str(self.inside / "venv/bin" / name), *arguments, timeout_s=timeout_s)

    def _run(self, *command: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [*self.command, *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=environment,
        )


def _native() -> str | None:
    candidates = [shutil.which("python3.9"), *sorted(map(str, Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9")))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def _debian_root(repository: Path) -> Path | None:
    """Debian 11, whose Python is 3.9, unpacked once into the cache folder."""
    root = Path(os.environ.get("CC_CACHE", repository / ".cache")) / "debian-11"
    if (root / "usr/bin/python3.9").exists():
        return root
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        return None
    root.parent.mkdir(parents=True, exist_ok=True)
    packages = "python3,python3-venv,ca-certificates"
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bullseye", str(root)],
        capture_output=True,
        check=False,
    )
    return root if made.returncode == 0 else None


@pytest.fixture(scope="session")
def python39(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Python39]:
    """A real Python 3.9 with an empty virtual environment, from this machine or from Debian 11."""
    native = _native()
    if native and os.environ.get("CC_PYTHON39") != "debian":
        folder = tmp_path_factory.mktemp("python39")
        subprocess.run([native, "-m", "venv", folder / "venv"], check=True)
        yield Python39((), folder, folder)
        return
    root = _debian_root(repository)
    if root is None:
        pytest.skip("no Python 3.9 here, and no root or mmdebstrap to unpack Debian 11")
    inside = Path("/srv/clustercockpit")
    outside = root / inside.relative_to("/")
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir(parents=True)
    for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), root / name)
    # mounts in a namespace of their own: they are gone with the process
    enter = 'for d in proc sys dev; do mount --rbind "/$d" "$0/$d" || exit 1; done; exec chroot "$0" "$@"'
    interpreter = Python39(("unshare", "--mount", "sh", "-c", enter, str(root)), outside, inside)
    made = interpreter._run("python3", "-m", "venv", str(inside / "venv"), timeout_s=120)
    assert made.returncode == 0, made.stderr
    yield interpreter
    shutil.rmtree(outside, ignore_errors=True)
