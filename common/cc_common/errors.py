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
    """Root of all errors that this project raises on purpose; its text is fit to be shown to a person."""


class SettingsError(CockpitError):
    """A setting is wrong; `key` is its dotted path as it stands in the file."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class LineProtocolError(CockpitError):
    """A line cannot be read; the text is the reason, without the line number."""


class PayloadError(CockpitError):
    """A JSON payload is wrong; `field` is the dotted path of the part that is wrong, empty for the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class HostlistError(CockpitError):
    """A host list cannot be read; `part` is the piece that is wrong."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class UnitError(CockpitError):
    """A unit is unknown, or two units measure different things."""


class DeliveryError(CockpitError):
    """A spool folder cannot be created, read or written."""
