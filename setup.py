"""Finds the packages below each root and refuses to build without the front-end files; the rest stands in setup.cfg."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOTS = ("common", "agent", "slurm_adapter", "backend")
VENDOR = Path(__file__).parent / "backend" / "cc_backend" / "web" / "static" / "vendor"


class BuildWithAssets(build_py):
    """A wheel whose pages lack their script would look whole and not be."""

    def run(self) -> None:
        """Build, unless the front-end files are missing."""
        if not getattr(self, "editable_mode", False) and not any(VENDOR.glob("*.js")):
            raise SetupError(f"the front-end files are missing in {VENDOR}: run `make assets` first")
        super().run()


setup(
    packages=[package for root in ROOTS for package in find_packages(root)],
    cmdclass={"build_py": BuildWithAssets},
)
