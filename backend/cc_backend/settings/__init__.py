"""The settings of the backend: what there is, and how they are read from files, environment and command line."""

from cc_backend.settings.declarations import (
    ADDRESS_VARIABLE,
    ENVIRONMENT_LEGACY,
    LEGACY,
    SAMPLE_KEY_ADVICE,
    SAMPLE_PUBLIC_KEY,
    BackendSettings,
    ExternalStoreSettings,
    MainSettings,
    MetricStoreSettings,
    WriteAheadLogSettings,
    load_settings,
)

__all__ = (
    "ADDRESS_VARIABLE",
    "ENVIRONMENT_LEGACY",
    "LEGACY",
    "SAMPLE_KEY_ADVICE",
    "SAMPLE_PUBLIC_KEY",
    "BackendSettings",
    "ExternalStoreSettings",
    "MainSettings",
    "MetricStoreSettings",
    "WriteAheadLogSettings",
    "config_file",
    "env_file",
    "load_settings",
)
