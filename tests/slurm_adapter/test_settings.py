import json
from pathlib import Path
from typing import Any, Dict

import pytest

from cc_common.errors import SettingsError
from cc_slurm_adapter.cli import PROGRAM
from cc_slurm_adapter.options import AdapterOptions
from cc_slurm_adapter.settings import AdapterConfiguration, load_configuration


def configured(folder: Path, document: Dict[str, Any], **options: Any) -> AdapterConfiguration:
    path = folder / "adapter.json"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return load_configuration(AdapterOptions(config=str(path), **options), {})


def test_the_command_line_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "token").chmod(0o600)
    configuration = load_configuration(
        AdapterOptions(url="http://h:1/", token_file=str(tmp_path / "token"), state_dir="/state", interval="2m"), {}
    )
    assert configuration.url == "http://h:1"
    assert configuration.settings.backend.token == "secret"
    assert configuration.settings.interval_s == 120
    assert configuration.state_directory == Path("/state")


def test_a_file_of_the_older_adapter_is_understood_with_a_warning_for_each_key(tmp_path: Path) -> None:
    configuration = configured(
        tmp_path,
        {
            "ccRestUrl": "https://cc.example.org",
            "ccRestJwt": "secret",
            "slurmPollInterval": 30,
            "slurmQueryMaxSpan": 86400,
            "ignoreHosts": "^login",
            "gpuPciAddrs": {"^a": ["00000000:01:00.0"], "^b": []},
            "lastRunPath": "/var/lib/cc-slurm-adapter/lastrun",
            "pidFilePath": "/run/x.pid",
            "natsServer": "nats",
            "slurmMaxRetries": 3,
        },
    )
    settings = configuration.settings
    assert (configuration.url, settings.backend.token, settings.interval_s) == ("https://cc.example.org", "secret", 30)
    assert (settings.slurm.max_span_s, settings.last_run_file) == (86400, "/var/lib/cc-slurm-adapter/lastrun")
    assert configuration.ignored is not None
    assert configuration.ignored.search("login1")
    assert [(rule.hosts.pattern, rule.addresses) for rule in configuration.gpu_rules] == [
        ("^a", ("00000000:01:00.0",)),
        ("^b", ()),
    ]
    assert len(configuration.warnings) == 10


def test_old_and_new_names_in_different_places_go_together(tmp_path: Path) -> None:
    settings = configured(tmp_path, {"backend": {"timeout": 3}, "ccRestUrl": "http://h"}).settings
    assert (settings.backend.timeout_s, settings.backend.url) == (3, "http://h")
    settings = configured(tmp_path, {"ccRestUrl": "http://h", "backend": {"timeout": 3}}).settings
    assert (settings.backend.timeout_s, settings.backend.url) == (3, "http://h")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"ccRestUrl": "http://a", "backend": {"url": "http://b"}}, "given twice"),
        ({"slurmPollInterval": 5, "interval": 6}, "given twice"),
        ({"ccRestURL": "http://a"}, "there is no such setting"),
        ({"interval": 0}, "interval"),
        ({"ignore-hosts": "["}, "not a regular expression"),
        ({"ignoreHosts": "["}, "not a regular expression"),
        ({"gpu-map": [{"hosts": "("}]}, "not a regular expression"),
        ({"gpuPciAddrs": {"a": "x"}}, "gpu-map"),
        ({"backend": 7, "ccRestUrl": "http://a"}, "must be an object"),
        ({"slurm": {"timeout": "soon"}}, r"slurm\.timeout"),
    ],
)
def test_a_wrong_file_is_rejected_with_the_key(tmp_path: Path, document: Dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        configured(tmp_path, document)


def test_what_is_needed_is_requested_when_it_is_needed() -> None:
    configuration = load_configuration(AdapterOptions(), {})
    with pytest.raises(SettingsError, match="--url"):
        _ = configuration.url
    with pytest.raises(SettingsError, match="--state-dir"):
        _ = configuration.state_directory


def test_systemd_and_the_environment_give_folder_and_token() -> None:
    configuration = load_configuration(AdapterOptions(), {"STATE_DIRECTORY": "/a:/b", "CC_SLURM_ADAPTER_TOKEN": "x"})
    assert (configuration.state_directory, configuration.settings.backend.token) == (Path("/a"), "x")


def test_an_empty_or_missing_token_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name in ("empty", "missing"):
        with pytest.raises(SettingsError, match=name):
            load_configuration(AdapterOptions(token_file=str(tmp_path / name)), {})


def test_the_sample_configuration_is_valid(repository: Path, tmp_path: Path) -> None:
    path = repository / "slurm_adapter" / "etc" / "cc-slurm-adapter.json"
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    configuration = load_configuration(AdapterOptions(config=str(copy)), {})
    assert configuration.warnings == []
    assert configuration.url


def test_a_wrong_option_names_the_help() -> None:
    with pytest.raises(SettingsError, match="cc-slurm-adapter run --help"):
        PROGRAM.parse(["run", "--nonsense"])
