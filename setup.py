"""Finds the packages below each root, builds the C parts if it can, refuses to build without page files.

The rest stands in setup.cfg. `CC_NO_EXT=1` leaves the C parts out, which gives a wheel for every machine; so does a
compiler that is missing or lacks Python's headers: NumPy alone does the same then.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOTS = ("common", "agent", "slurm_adapter", "backend", "demo")
DEMO = "cc_demo"  # runs from a checkout only: nobody wants made-up jobs on a production server
VENDOR = Path(__file__).parent / "backend" / "cc_backend" / "web" / "static" / "vendor"
SHARED_NATIVE = Path("backend", "cc_backend", "native")
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
EXTENSIONS = {
    "cc_backend.metricstore._kernel": ("kernelmodule.c", "lines.c", "scatter.c"),
    "cc_backend.metricstore._codec": ("codecmodule.c", "codec.c"),
    "cc_backend.metricstore._resample": ("resamplemodule.c", "resample.c"),
    "cc_backend.archive._numbers": ("numbersmodule.c", "decimals.c"),
}


def native_folder(extension: str) -> Path:
    """Where the sources of an extension are: in `native` beside it."""
    return Path("backend", *extension.split(".")[:-1], "native")


class BuildWithAssets(build_py):
    """A wheel whose pages lack their script would look whole and not be."""

    def run(self) -> None:
        """Build, unless the front-end files are missing."""
        if not getattr(self, "editable_mode", False):
            if not any(VENDOR.glob("*.js")):
                raise SetupError(f"the front-end files are missing in {VENDOR}: run `make assets` first")
            self.packages = [package for package in self.packages if package.split(".")[0] != DEMO]
        super().run()


def can_compile() -> bool:
    """Whether there is a compiler that finds Python's headers."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\nint main(void) { return 0; }\n", encoding="utf-8")
        command = [*compiler, *FLAGS, *include, "-c", str(source), "-o", str(Path(folder) / "probe.o")]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def extensions() -> list[Extension]:
    """The C parts, none of them needed."""
    if os.environ.get("CC_NO_EXT") == "1":
        return []
    if not can_compile():
        sys.stderr.write(
            "setup.py: no C compiler with Python's headers: building for any machine, without the C parts\n"
        )
        return []
    return [
        Extension(
            name,
            sources=[str(native_folder(name) / source) for source in sources],
            include_dirs=[str(native_folder(name)), str(SHARED_NATIVE)],
            depends=[str(path) for folder in (native_folder(name), SHARED_NATIVE) for path in folder.glob("*.h")],
            extra_compile_args=FLAGS,
            optional=True,
        )
        for name, sources in EXTENSIONS.items()
    ]


setup(
    packages=[package for root in ROOTS for package in find_packages(root)],
    ext_modules=extensions(),
    cmdclass={"build_py": BuildWithAssets},
)
