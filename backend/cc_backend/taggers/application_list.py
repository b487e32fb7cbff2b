"""The applications that jobs are searched for: `applications.toml`, and how names are looked up in it. Pure."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

_MAX_NAME_CHARS = 128
_NOT_PROGRAMS = frozenset({
    "bat", "c", "cfg", "cif", "com", "conf", "cpp", "csv", "dat", "data", "err", "f90", "gp", "gro", "gz", "h5",
    "html", "in", "inp", "ini", "ipynb", "jl", "job", "jou", "json", "list", "log", "m", "md", "mdp", "nc", "npy",
    "out", "pdb", "pdf", "pl", "png", "py", "r", "sbatch", "sh", "slurm", "sql", "svg", "tar", "tcl", "tex", "toml",
    "top", "tpr", "txt", "xml", "xyz", "yaml", "yml", "zip",
})  # fmt: skip
_COMPONENTS = re.compile(r"[/:@\\]+")
_WORDS = re.compile(r"[^a-z0-9]+")
_VERSION = re.compile(r"[-_.@+0-9]|$")
_FULL_WORD_CHARS = 2  # names as short as this have no suffix: `r` is not `ray`, `r-4.2` is


@dataclass(frozen=True, slots=True)
class KnownApplication:
    """One application; all names are in lower case. The comments of `applications.toml` say what they are."""

    tag: str
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    is_helper: bool = False


@dataclass(frozen=True, slots=True)
class ApplicationList:
    """Applications by the names of their programs, modules, jobs and Python modules."""

    applications: Mapping[str, KnownApplication]
    _programs: dict[str, KnownApplication] = field(default_factory=dict)
    _globs: list[tuple[re.Pattern[str], KnownApplication]] = field(default_factory=list)
    _modules: dict[str, KnownApplication] = field(default_factory=dict)
    _names: dict[str, KnownApplication] = field(default_factory=dict)
    _python: dict[str, KnownApplication] = field(default_factory=dict)

    @classmethod
    def of(cls, applications: Iterable[KnownApplication]) -> "ApplicationList":
        """The list of these applications; of names that several have the first counts."""
        made = cls({application.tag: application for application in applications})
        for application in made.applications.values():
            for program in application.programs:
                if "*" in program:
                    made._globs.append((_glob(program), application))
                else:
                    made._programs.setdefault(program, application)
            for index, names in (
                (made._modules, application.modules),
                (made._names, application.names),
                (made._python, application.python),
            ):
                for name in names:
                    index.setdefault(name, application)
        return made

    def by_program(self, base_name: str) -> KnownApplication | None:
        """The application of an executable, by its name without directory."""
        name = base_name.lower()
        if not name or len(name) > _MAX_NAME_CHARS:
            return None
        found = self._programs.get(name)
        if found is None and name.rpartition(".")[2] not in _NOT_PROGRAMS:
            found = next((application for pattern, application in self._globs if pattern.fullmatch(name)), None)
        return found

    def by_module(self, text: str) -> KnownApplication | None:
        """The application of an environment module, package or image, such as `chem/GROMACS/2023.3`."""
        for component in _COMPONENTS.split(text.lower()[:_MAX_NAME_CHARS]):
            for name in _beginnings(component):
                if name in self._modules:
                    return self._modules[name]
        return None

    def by_job_name(self, text: str) -> KnownApplication | None:
        """The application that a word of a job's name is."""
        words = _WORDS.split(text.lower()[:_MAX_NAME_CHARS])
        return next((self._names[word] for word in words if word in self._names), None)

    def by_python_module(self, name: str) -> KnownApplication | None:
        """The application of a Python module or of the package that it is in."""
        name = name.lower()[:_MAX_NAME_CHARS]
        return self._python.get(name) or self._python.get(name.partition(".")[0])


def _beginnings(component: str) -> Iterator[str]:
    """A name, and what it is without one suffix after the other: `pytorch-2.1-gpu`, `pytorch-2.1`, ..., `pytorch`."""
    yield component
    for end in range(len(component) - 1, _FULL_WORD_CHARS, -1):
        if _VERSION.match(component, end):
            yield component[:end]


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def shipped_applications() -> list[KnownApplication]:
    """The applications of `applications.toml`, in its order."""
    text = resources.files("cc_backend.taggers").joinpath("applications.toml").read_text("utf-8")
    return [_read_application(tag, table) for tag, table in tomllib.loads(text).items()]


def _read_application(tag: str, table: Mapping[str, Any]) -> KnownApplication:
    def names(key: str) -> tuple[str, ...]:
        return tuple(name.lower() for name in table.get(key, ()))

    return KnownApplication(
        tag, names("programs"), names("modules"), names("names"), names("python"), bool(table.get("helper", False))
    )
