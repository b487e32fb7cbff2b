"""The command line of the small programs: options declared once as a dataclass, commands, one line for what goes wrong.

    @dataclass(frozen=True)
    class Options:
        config: Optional[str] = command_option("configuration file (JSON)", "FILE")

    PROGRAM = Program("cc-agent", "Sample this node and send.", "agent", Options, (Command("run", "Sample.", run),))
    sys.exit(PROGRAM.main())

A command imports what it needs when it is run: those that stay in memory load nothing of the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import os
import sys
from dataclasses import dataclass
from typing import Any, Callable, Generic, Iterable, List, NoReturn, Optional, Sequence, Tuple, Type, TypeVar

from cc_common import __version__
from cc_common.errors import CockpitError, SettingsError
from cc_common.nearest_name import did_you_mean
from cc_common.output import flush_stdout

EXIT_OK, EXIT_FAILED, EXIT_SETTINGS = 0, 1, 2

LOG_LEVELS = ("error", "warning", "info", "debug")

Options = TypeVar("Options")


def command_option(help: str, metavar: str, *, choices: Sequence[str] = (), default: Optional[str] = None) -> Any:  # noqa: A002 reads best at the declaration
    """A field of an options class: `--field-name METAVAR` on the command line, the default where it is not given."""
    return dataclasses.field(default=default, metadata={"help": help, "metavar": metavar, "choices": tuple(choices)})


def command_words(help: str, metavar: str) -> Any:  # noqa: A002 reads best at the declaration
    """A field of an options class for the words that follow the command, at least one; () where none are given."""
    return dataclasses.field(default=(), metadata={"help": help, "metavar": metavar, "words": True})


@dataclass(frozen=True)
class Command(Generic[Options]):
    """A command; `run` gives the exit status, `options` names the fields that it takes, None for all but words."""

    name: str
    help: str
    run: Callable[[Options], int]
    options: Optional[Tuple[str, ...]] = None


@dataclass(frozen=True)
class Program(Generic[Options]):
    """A program with its commands; `extra` is what has to be installed for it."""

    name: str
    help: str
    extra: str
    options: Type[Options]
    commands: Tuple[Command[Options], ...]

    def main(self, arguments: Optional[List[str]] = None) -> int:
        """Run a command; its exit status: 2 for wrong settings, 1 for other failures, each with one line of reason.

        With <NAME>_DEBUG in the environment an unexpected error is raised instead.
        """
        status = self._run(sys.argv[1:] if arguments is None else arguments)
        error = flush_stdout()
        if error is None or status != EXIT_OK:
            return status
        return EXIT_FAILED if isinstance(error, BrokenPipeError) else self._fail(self._reason(error), EXIT_FAILED)

    def parse(self, words: Sequence[str]) -> Tuple[Command[Options], Options]:
        """The command and the options in the arguments. Raises SettingsError; --help prints and raises SystemExit."""
        parser = _Parser(prog=self.name, description=self.help, allow_abbrev=False, formatter_class=_help_formatter)
        parser.add_argument("--version", action="version", version=self._version, help="print the version")
        commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for command in (*self.commands, Command("version", "Print the version.", self._print_version, ())):
            child = commands.add_parser(
                command.name,
                help=command.help,
                description=command.help,
                allow_abbrev=False,
                formatter_class=_help_formatter,
            )
            child.set_defaults(command=command, parser=child)
            self._add_options(child, command)
        first = words[0] if words else "--help"
        if first not in (known := [*commands.choices, "--help", "--version", "-h"]):
            kind = "option" if first.startswith("-") else "command"
            parser.error(f"there is no {kind} {first!r}{did_you_mean(first, known)}")
        parsed, unknown = parser.parse_known_args([first, *words[1:]])
        values = vars(parsed)
        chosen: Command[Options] = values.pop("command")
        command_parser: _Parser = values.pop("parser")
        if unknown:
            hint = did_you_mean(unknown[0].partition("=")[0], [f"--{name.replace('_', '-')}" for name in values])
            command_parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return chosen, self.options(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def _add_options(self, parser: argparse.ArgumentParser, command: Command[Options]) -> None:
        for field in dataclasses.fields(self.options):  # type: ignore[arg-type]  # an options class is a dataclass
            words = field.metadata.get("words", False)
            if words and command.options is not None and field.name in command.options:
                parser.add_argument(
                    field.name, nargs="+", help=field.metadata["help"], metavar=field.metadata["metavar"]
                )
            elif not words and (command.options is None or field.name in command.options):
                parser.add_argument(
                    "--" + field.name.replace("_", "-"),
                    default=field.default,
                    choices=field.metadata["choices"] or None,
                    help=field.metadata["help"],
                    metavar=field.metadata["metavar"],
                )

    def _print_version(self, _options: Options) -> int:
        sys.stdout.write(f"{self._version}\n")
        return EXIT_OK

    @property
    def _version(self) -> str:
        return f"{self.name} {__version__}"

    def print_warnings(self, warnings: Iterable[str]) -> None:
        """A line on standard error for each warning."""
        for warning in warnings:
            sys.stderr.write(f"{self.name}: warning: {warning}\n")

    def _run(self, words: List[str]) -> int:
        try:
            command, options = self.parse(words)
            return command.run(options)
        except SystemExit as end:  # argparse has printed its help
            return end.code if isinstance(end.code, int) else EXIT_OK
        except KeyboardInterrupt:
            return self._fail("interrupted", EXIT_FAILED)
        except BrokenPipeError:  # whoever reads our output has seen enough
            return EXIT_FAILED
        except Exception as error:  # people never see a traceback
            if os.environ.get(self._debug_variable):
                raise
            return self._fail(self._reason(error), EXIT_SETTINGS if isinstance(error, SettingsError) else EXIT_FAILED)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, CockpitError):
            return str(error)
        if isinstance(error, ModuleNotFoundError):
            return f"needs the Python package {error.name!r}; install clustercockpit[{self.extra}]"
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return f"{error.filename or 'standard output'}: {error.strerror}"
        return f"internal error, set {self._debug_variable}=1 to see where: {type(error).__name__}: {error}"

    @property
    def _debug_variable(self) -> str:
        return self.name.upper().replace("-", "_") + "_DEBUG"

    def _fail(self, reason: str, status: int) -> int:
        sys.stderr.write(f"{self.name}: {' '.join(reason.split())}\n")
        return status


def _help_formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=24)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError("", f"command line: {message} (see {self.prog} --help)")
