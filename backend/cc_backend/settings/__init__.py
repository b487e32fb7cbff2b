"""The settings of the backend: what there is, and how they are read from files, environment and command line."""

from cc_backend.settings.declarations import (
    ADDRESS_VARIABLE,
    LEGACY_KEYS,
    LEGACY_VARIABLES,
    SAMPLE_KEY_ADVICE,
    SAMPLE_PUBLIC_KEY,
    BackendMainSettings,
    BackendSettings,
    ExternalStoreSettings,
    JobTaggerSettings,
    ListenSettings,
    MetricStoreSettings,
    WriteAheadLogSettings,
    load_settings,
)

__all__ = (
    "ADDRESS_VARIABLE",
    "LEGACY_KEYS",
    "LEGACY_VARIABLES",
    "SAMPLE_KEY_ADVICE",
    "SAMPLE_PUBLIC_KEY",
    "BackendMainSettings",
    "BackendSettings",
    "ExternalStoreSettings",
    "JobTaggerSettings",
    "ListenSettings",
    "MetricStoreSettings",
    "WriteAheadLogSettings",
    "config_file",
    "env_file",
    "load_settings",
)
