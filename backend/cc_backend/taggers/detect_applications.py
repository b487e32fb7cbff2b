"""Which applications a job runs, by its script, its executable and its name. Pure.

Evidence, strongest first; weaker evidence counts only if there is no stronger:

1. a program that the script runs, a module that its Python code imports, a pattern of the site that matches;
2. where Python runs: modules and containers for Python;
3. modules and containers, where a program runs in parallel that is not known;
4. languages and tools (helpers);
5. modules and containers;
6. a word of the job's name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cc_backend.taggers.application_list import ApplicationList, KnownApplication
from cc_backend.taggers.launchers import StartedProgram, started_programs
from cc_backend.taggers.pattern_files import PatternFile, matching_tags
from cc_backend.taggers.shell_commands import MAX_SCRIPT_CHARS, ScriptCommand, script_commands

_MAX_NESTED = 3
_SHELLS = frozenset({"sh", "bash", "zsh", "dash", "ksh", "csh", "tcsh"})
_MODULE_COMMANDS = {
    "module": ("load", "add", "switch", "swap", "try-load"),
    "ml": ("load", "add", "switch", "swap"),
    "spack": ("load",),
    "conda": ("activate",),
    "mamba": ("activate",),
    "micromamba": ("activate",),
    "source": ("activate",),
}
_ML_OTHERS = frozenset({
    "unload", "del", "purge", "avail", "spider", "list", "show", "use", "unuse", "keyword", "save", "restore",
    "reset", "help", "whatis", "av",
})  # fmt: skip
_INTERPRETER = re.compile(r"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?([^\s/]+)")
_IMPORT = re.compile(r"(?:^|;)[ \t]*(?:import|from)[ \t]+([\w.]+(?:[ \t]*,[ \t]*[\w.]+)*)", re.MULTILINE)
_SLURM_COMMAND = re.compile(r"(?:^|[ \t])Command=(\S+)", re.MULTILINE)
_CODE_OPTIONS = frozenset({"-c", "-m", "-e"})


@dataclass(slots=True)
class _Evidence:
    programs: list[KnownApplication] = field(default_factory=list)
    modules: list[KnownApplication] = field(default_factory=list)
    python: list[KnownApplication] = field(default_factory=list)
    runs_python: bool = False
    runs_unknown: bool = False
    """Whether a launcher of parallel programs starts one that is not known."""

    def tags(self) -> tuple[str, ...]:
        """The tags of the strongest evidence, sorted."""
        strong = [application for application in self.programs if not application.is_helper]
        in_python = [application for application in self.modules if application.python] if self.runs_python else []
        for found in (
            [*strong, *(application for application in self.python if not application.is_helper)],
            [application for application in in_python if not application.is_helper],
            self.modules if self.runs_unknown else [],
            self.programs,
            self.modules,
        ):
            if found:
                return tuple(sorted({application.tag for application in found}))
        return ()


def detect_applications(
    meta_data: Mapping[str, str], known: ApplicationList, site: Sequence[PatternFile] = ()
) -> tuple[str, ...]:
    """The sorted tags of the applications of a job, from its meta data: `jobScript`, `slurmInfo` and `jobName`."""
    script = meta_data.get("jobScript", "")
    evidence = _Evidence([KnownApplication(tag) for tag in matching_tags(site, script)])
    if script:
        _read_script(script, known, evidence)
    elif command := _SLURM_COMMAND.search(meta_data.get("slurmInfo", "")):
        _take_program(StartedProgram(command[1], ()), "", known, evidence, 0)
    if tags := evidence.tags():
        return tags
    named = known.by_job_name(meta_data.get("jobName", ""))
    return (named.tag,) if named else ()


def _read_script(script: str, known: ApplicationList, evidence: _Evidence) -> None:
    interpreter = _INTERPRETER.match(script[:256].partition("\n")[0])
    if interpreter and interpreter[1] not in _SHELLS:
        _take_program(StartedProgram(interpreter[1], ()), script[:MAX_SCRIPT_CHARS], known, evidence, 0)
        return
    _take_commands(script_commands(script), known, evidence, 0)


def _take_commands(commands: Iterable[ScriptCommand], known: ApplicationList, evidence: _Evidence, depth: int) -> None:
    for command in commands:
        for name in _loaded_modules(command.words):
            _take_module(name, known, evidence)
        for program in started_programs(command.words):
            for image in program.images:
                _take_module(image, known, evidence)
            _take_program(program, command.stdin, known, evidence, depth)


def _take_module(name: str, known: ApplicationList, evidence: _Evidence) -> None:
    if application := known.by_module(name):
        evidence.modules.append(application)


def _take_program(program: StartedProgram, stdin: str, known: ApplicationList, evidence: _Evidence, depth: int) -> None:
    name = program.base_name.lower()
    if name in _SHELLS or name == "eval":
        nested = " ".join(program.arguments) if name == "eval" else _shell_script(program, stdin)
        if nested and depth < _MAX_NESTED:
            _take_commands(script_commands(nested), known, evidence, depth + 1)
        return
    if name.endswith(".py"):
        evidence.runs_python = True
        script = known.by_program(name) or known.applications.get("python")
        evidence.programs += [script] if script else []
        return
    application = known.by_program(name)
    if application is None:
        evidence.runs_unknown |= program.is_parallel
        return
    evidence.programs.append(application)
    if application.is_helper:
        evidence.programs += _scripts_of(program, known)
    if application.tag in ("python", "jupyter"):
        evidence.runs_python = True
        evidence.python += filter(None, map(known.by_python_module, _python_modules(program, stdin)))


def _shell_script(program: StartedProgram, stdin: str) -> str:
    """The script that a shell is started with: behind `-c`, else its standard input if it has no script file."""
    arguments = program.arguments
    for index, argument in enumerate(arguments):
        if argument.startswith("-") and argument.endswith("c"):
            return "".join(arguments[index + 1 : index + 2])
        if not argument.startswith("-"):
            return ""
    return stdin


def _scripts_of(program: StartedProgram, known: ApplicationList) -> Iterator[KnownApplication]:
    """The application that is the script of an interpreter: `python run_alphafold.py`, `java -jar gatk.jar`."""
    for argument in program.arguments:
        if argument in _CODE_OPTIONS:
            return
        if argument.startswith("-"):
            continue
        application = known.by_program(argument.rpartition("/")[2])
        if application is not None and not application.is_helper:
            yield application
        return


def _python_modules(program: StartedProgram, stdin: str) -> Iterator[str]:
    """The modules that Python is seen to import: by `-m`, in the code behind `-c` or on its standard input."""
    for index, argument in enumerate(program.arguments):
        following = "".join(program.arguments[index + 1 : index + 2])
        if argument == "-m":
            yield following
            return
        if argument == "-c":
            yield from _imported_modules(following)
            return
        if not argument.startswith("-"):
            return
    yield from _imported_modules(stdin)


def _imported_modules(code: str) -> Iterator[str]:
    for names in _IMPORT.findall(code):
        yield from (name.strip() for name in names.split(","))


def _loaded_modules(words: tuple[str, ...]) -> tuple[str, ...]:
    """The names of modules, packages or environments that a command loads."""
    command = words[0].rpartition("/")[2]
    subcommands = _MODULE_COMMANDS.get(command, ())
    rest = tuple(word for word in words[1:] if not word.startswith("-"))
    if rest and rest[0] in subcommands:
        return rest[1:]
    if command in (".", "source"):
        return (rest[0].rpartition("/")[2],) if rest else ()
    return rest if command == "ml" and rest and rest[0] not in _ML_OTHERS else ()
