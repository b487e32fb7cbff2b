"""The errors of the shared library.

CockpitError
├── SettingsError       a setting is unknown, of the wrong type, or out of range
├── LineProtocolError   a line of a batch cannot be read
├── PayloadError        a job event or node state report cannot be read
├── HostlistError       a host list cannot be read, or is too large
├── UnitError           a unit is unknown, or two units cannot be converted
└── DeliveryError       a spool cannot be used
"""


class CockpitError(Exception):
    """Root of all errors that this project raises on purpose; the text can be shown to a user."""


class SettingsError(CockpitError):
    """A setting is invalid; `key` is its dotted path as written in the file."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class LineProtocolError(CockpitError):
    """A line cannot be parsed; the text is the reason, without the line number."""


class PayloadError(CockpitError):
    """A JSON payload is invalid; `field` is the dotted path of the invalid part, empty for the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class HostlistError(CockpitError):
    """A host list cannot be parsed; `part` is the invalid part of the text."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class UnitError(CockpitError):
    """A unit is unknown, or two units measure different things."""


class DeliveryError(CockpitError):
    """A spool folder cannot be created, read or written."""
