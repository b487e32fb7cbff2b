"""Settings: declared once as dataclasses, read from files, environment and command line, shown, and documented.

    @dataclass(frozen=True)
    class Server:
        addr: str = option("127.0.0.1:8080", "Address and port to listen on.")
        timeout_s: float = option(20.0, "Maximum time for a response.", key="timeout", kind="duration")

    loaded = load(Server, read_json(path), source=str(path))

Loader, checks, the list of values with their origin and the reference page all come from the declaration.
Order of precedence: command line, environment, file, default.
"""

from cc_common.settings.declare import named_sections, option, required, section, sections
from cc_common.settings.durations import format_duration, parse_duration
from cc_common.settings.loader import LoadedSettings, load, read_json
from cc_common.settings.report import format_settings, reference_page
from cc_common.settings.secret_file import read_token_option

__all__ = [
    "LoadedSettings",
    "format_duration",
    "format_settings",
    "load",
    "named_sections",
    "option",
    "parse_duration",
    "read_json",
    "read_token_option",
    "reference_page",
    "required",
    "section",
    "sections",
]
