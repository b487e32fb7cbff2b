import json
from pathlib import Path
from typing import Any

import pytest

from cc_agent.cli import PROGRAM
from cc_agent.collectors.base import RawSeries
from cc_agent.collectors.registry import make_collectors
from cc_agent.default_metrics import default_collectors, default_router
from cc_agent.options import AgentOptions
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_agent.sinks.http import HttpSettings
from cc_common.errors import SettingsError

SAMPLE: "dict[str, Any]" = {
    "main": {"interval": "30s", "duration": "1s"},
    "collectors": {
        "cpustat": {"exclude_metrics": ["cpu_nice", "cpu_steal"]},
        "memstat": {"numa_stats": True},
        "nvidia": {"use_pci_info_as_type_id": True},
    },
    "router": {
        "interval_timestamp": True,
        "normalize_units": True,
        "process_messages": {
            "rename_messages": {"load_one": "cpu_load"},
            "add_tags_if": [{"key": "cluster", "value": "demo", "if": "true"}],
            "drop_messages_if": ["tags.type == 'hwthread' && name startsWith 'cpu_i'"],
            "change_unit_prefix": {"name == 'mem_used'": "G"},
        },
    },
    "sinks": {
        "central": {
            "type": "http",
            "url": "https://mon.example.net/api/write?cluster=demo",
            "jwt": "REPLACE",
            "flush_delay": "4s",
            "precision": "s",
        }
    },
    "receivers": {},
}


def _file(folder: Path, document: Any, name: str = "agent.json") -> str:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def _configure(folder: Path, document: Any, **options: Any) -> AgentConfiguration:
    return load_configuration(AgentOptions(config=_file(folder, document), **options), {})


def test_without_a_file_the_defaults_hold() -> None:
    configuration = load_configuration(AgentOptions(url="http://localhost:8080", token="abc"), {})
    assert configuration.interval_s == 60
    assert configuration.hostname
    assert "." not in configuration.hostname
    assert configuration.cluster == configuration.hostname
    assert configuration.warnings == []
    (sink,) = configuration.sinks
    assert isinstance(sink.settings, HttpSettings)
    assert sink.settings.jwt == "abc"


def test_a_configuration_of_the_reference_loads(tmp_path: Path) -> None:
    configuration = _configure(tmp_path, SAMPLE)
    assert configuration.interval_s == 30
    assert configuration.cluster == "demo"
    assert configuration.warnings == []
    names = [collector.name for collector in make_collectors(configuration.settings.collectors)]
    assert set(names) == {"cpustat", "memstat", "nvidia"}


def test_all_collectors_of_the_reference_are_known(tmp_path: Path) -> None:
    names = [
        "cpustat",
        "memstat",
        "loadavg",
        "schedstat",
        "numastats",
        "netstat",
        "ibstat",
        "iostat",
        "diskstat",
        "cpufreq",
        "cpufreq_cpuinfo",
        "tempstat",
        "rapl",
        "likwid",
        "nvidia",
        "rocm_smi",
        "ipmistat",
        "smartmon",
        "lustrestat",
        "gpfs",
        "beegfs_meta",
        "beegfs_storage",
        "nfs3stat",
        "nfs4stat",
        "nfsiostat",
        "slurm_cgroup",
        "topprocs",
        "customcmd",
        "self",
    ]
    configuration = _configure(tmp_path, {**SAMPLE, "collectors": {name: {} for name in names}})
    assert configuration.warnings == []
    made = [collector.name for collector in make_collectors(configuration.settings.collectors)]
    assert sorted(made) == sorted(names)


def test_the_command_line_beats_the_file(tmp_path: Path) -> None:
    configuration = _configure(
        tmp_path, SAMPLE, interval="10", cluster="other", hostname="n7", url="http://h:1", spool_dir="/spool"
    )
    assert (configuration.interval_s, configuration.cluster, configuration.hostname) == (10, "other", "n7")
    assert configuration.spool_folder == Path("/spool")
    assert [sink.name for sink in configuration.sinks] == ["url"]


def test_tokens_come_from_a_file_the_environment_or_the_command_line(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("from-file\n", encoding="utf-8")
    token_file.chmod(0o600)
    cases = (
        (AgentOptions(url="http://h", token_file=str(token_file)), {}, "from-file"),
        (AgentOptions(url="http://h"), {"CC_AGENT_TOKEN": "from-environment"}, "from-environment"),
        (AgentOptions(url="http://h", token="given"), {"CC_AGENT_TOKEN": "from-environment"}, "given"),
        (AgentOptions(url="http://h"), {}, ""),
    )
    for options, environment, expected in cases:
        settings = load_configuration(options, environment).sinks[0].settings
        assert isinstance(settings, HttpSettings)
        assert settings.jwt == expected


def test_the_state_directory_of_systemd_is_the_spool() -> None:
    configuration = load_configuration(AgentOptions(), {"STATE_DIRECTORY": "/var/lib/cc-agent:/var/lib/other"})
    assert configuration.spool_folder == Path("/var/lib/cc-agent")
    assert load_configuration(AgentOptions(), {}).spool_folder is None


def test_components_may_stand_in_files_of_their_own(tmp_path: Path) -> None:
    _file(tmp_path, {"cpustat": {}}, "collectors.json")
    _file(tmp_path, {"out": {"type": "stdout"}}, "sinks.json")
    document = {"main": {"interval": "20s"}, "collectors-file": "collectors.json", "sinks-file": "./sinks.json"}
    configuration = _configure(tmp_path, document)
    assert configuration.settings.collectors.memstat is None
    assert [sink.name for sink in configuration.sinks] == ["out"]


def test_the_old_layout_loads_and_says_what_to_change(tmp_path: Path) -> None:
    _file(tmp_path, {"loadavg": {}}, "collectors.json")
    document = {"interval": "15s", "duration": "5s", "collectors": "/etc/nowhere/collectors.json"}
    configuration = _configure(tmp_path, document)
    assert configuration.interval_s == 15
    assert any("old layout" in warning for warning in configuration.warnings)
    assert any("does not exist" in warning for warning in configuration.warnings)


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({"mian": {}}, "mian: there is no such setting; did you mean 'main'?"),
        ({"main": {"interval": "1x"}}, "main.interval: must be a duration"),
        ({"main": {"interval": "250ms"}}, "main.interval: must be at least 1"),
        ({"main": {"interval": "1.5s"}}, "main.interval: must be an integer number of seconds"),
        ({"main": {"interval": "5s", "duration": "10s"}}, "main.duration: must not be longer"),
        ({"main": []}, "main: must be an object"),
        ({"collectors": {"cpustatt": {}}}, "collectors.cpustatt: there is no such setting; did you mean 'cpustat'?"),
        ({"collectors": {"cpustat": {"exclude_metric": []}}}, "did you mean 'exclude_metrics'?"),
        ({"collectors": {"cpustat": {"exclude_metrics": "cpu_user"}}}, "collectors.cpustat.exclude_metrics"),
        ({"collectors": {"memstat": {"mem_used": "mine"}}}, "must be one of"),
        ({"router": {"process_messages": {"manipulate": 1}}}, "router.process_messages.manipulate"),
        ({"router": {"add_tags": [{"value": "x"}]}}, "router.add_tags[0].key: is required"),
        (
            {"sinks": {"a": {"type": "htp", "url": "http://x"}}},
            "sinks.a.type: must be one of http, influxasync, influxdb, nats,",
        ),
        ({"sinks": {"a": {"type": "http"}}}, "sinks.a: url: is required"),
        (
            {"sinks": {"a": {"type": "http", "url": "http://x", "username": "u"}}},
            "and 'password' must be given together",
        ),
        ({"sinks": {"a": []}}, "sinks.a: must be an object"),
        ({"collectors": "nowhere.json"}, "nowhere.json: cannot be read"),
        ("{", "is not JSON"),
        ("[]", "must hold an object"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, document: Any, part: str) -> None:
    with pytest.raises(SettingsError) as caught:
        _configure(tmp_path, document)
    assert part in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_component_given_twice_is_rejected(tmp_path: Path) -> None:
    _file(tmp_path, {}, "c.json")
    with pytest.raises(SettingsError, match="'collectors' is given twice"):
        _configure(tmp_path, {"collectors": {}, "collectors-file": "c.json"})


def test_mistakes_in_conditions_are_found_before_sampling(tmp_path: Path) -> None:
    document = {"router": {"process_messages": {"drop_messages_if": ["nmae == 'x'"]}}}
    with pytest.raises(SettingsError, match=r"router\.process_messages\.drop_messages_if: unknown name 'nmae'"):
        _configure(tmp_path, document).make_router()


def test_rules_that_a_store_could_not_digest_are_left_out_with_a_warning(tmp_path: Path) -> None:
    document = {"router": {"process_messages": {"add_field_if": [{"key": "a", "value": "b", "if": "*"}]}}}
    (warning,) = _configure(tmp_path, document).warnings
    assert "add_field_if" in warning


def test_what_is_not_supported_yet_is_said(tmp_path: Path) -> None:
    document = {
        "sinks": {"n": {"type": "questdb", "host": "x"}, "out": {"type": "stdout"}},
        "receivers": {"r": {"type": "eecpt"}},
        "router": {"interval_aggregates": [{"name": "x", "function": "sum(values)"}]},
    }
    configuration = _configure(tmp_path, document)
    assert [sink.name for sink in configuration.sinks] == ["out"]
    assert len(configuration.warnings) == 3


def test_options_that_collectors_had_once_are_warned_of(tmp_path: Path) -> None:
    configuration = _configure(tmp_path, {"collectors": {"lustrestat": {"send_all_metrics": True}}})
    assert [warning for warning in configuration.warnings if "lustrestat.send_all_metrics" in warning]


@pytest.mark.parametrize("cluster", ["alex", "fritz"])
def test_production_configurations_load_unchanged(shared_fixtures: Path, cluster: str) -> None:
    configuration = load_configuration(
        AgentOptions(config=str(shared_fixtures / "collectors" / cluster / "config.json")), {}
    )
    assert configuration.interval_s == 60
    assert configuration.cluster == cluster
    assert configuration.settings.collectors.netstat is not None
    assert [sink.name for sink in configuration.sinks] == ["nhrinflux", f"{cluster}store"]
    assert any("normalize_metrics" in warning for warning in configuration.warnings)
    configuration.make_router()
    for sink in configuration.sinks:
        assert any(sink.settings.make_processors(sink.name))


def test_the_shipped_configuration_is_the_built_in_one(repository: Path, tmp_path: Path) -> None:
    document = json.loads((repository / "agent/etc/cc-agent.json").read_text(encoding="utf-8"))
    assert document["collectors"] == default_collectors()
    assert document["router"] == default_router()
    (tmp_path / "token").write_text("abc\n", encoding="utf-8")
    (tmp_path / "token").chmod(0o600)
    configuration = _configure(tmp_path, document)
    assert configuration.warnings == []
    assert configuration.interval_s == 60


def _origins(configuration: AgentConfiguration) -> "dict[str, str]":
    return dict(configuration.loaded.origins)


def test_without_a_router_section_collectors_that_are_named_send_what_they_measure(tmp_path: Path) -> None:
    configuration = _configure(tmp_path, {"collectors": {"loadavg": {}, "memstat": {}}})
    sent = [
        configuration.make_router().preview(RawSeries(name, {"type": "node"}, {"unit": unit}))
        for name, unit in (("load_one", "load"), ("mem_used", "KiB"))
    ]
    assert [(message.name, message.factor) for message in sent if message] == [("load_one", 1.0), ("mem_used", 1.0)]
    assert _origins(configuration)["router.process_messages.rename_messages"] == "default"


def test_built_in_sections_are_not_said_to_come_from_the_file(tmp_path: Path) -> None:
    configuration = _configure(tmp_path, {"main": {"interval": "30s"}})
    origins = _origins(configuration)
    assert origins["main.interval"].endswith("agent.json")
    assert origins["collectors.loadavg.include_metrics"] == "built-in defaults"
    assert origins["router.process_messages.rename_messages"] == "built-in defaults"
    configuration = _configure(tmp_path, {"router": {"process_messages": {"rename_messages": {"load_one": "load"}}}})
    origins = _origins(configuration)
    assert origins["collectors.loadavg.include_metrics"] == "built-in defaults"
    assert origins["router.process_messages.rename_messages"].endswith("agent.json")


@pytest.mark.parametrize(
    ("collectors", "problem"),
    [
        ({"memstat": {"include_metrics": ["memused"]}}, "memstat has no metric 'memused'.*did you mean 'mem_used'"),
        ({"cpustat": {"include_metrics": ["cpu_user", "x"]}}, "cpustat has no metric 'x' with these options$"),
        ({"netstat": {"include_metrics": ["net_bw"]}}, "netstat has no metric 'net_bw' with these options"),
    ],
)
def test_a_metric_to_include_that_does_not_exist_is_rejected(
    tmp_path: Path, collectors: "dict[str, Any]", problem: str
) -> None:
    with pytest.raises(SettingsError, match=f"include_metrics: {problem}"):
        _configure(tmp_path, {"collectors": collectors})


def test_a_token_file_that_everybody_can_read_is_rejected(tmp_path: Path) -> None:
    path = Path(_file(tmp_path, "abc\n", "token"))
    path.chmod(0o644)
    with pytest.raises(
        SettingsError, match=r"--token-file .*token can be accessed by other users of this machine; run chmod 0600"
    ):
        load_configuration(AgentOptions(url="http://x", token_file=str(path)), {})


def test_the_command_line_is_read_without_the_command_line_library() -> None:
    _, options = PROGRAM.parse(["run", "--url", "http://x", "--token-file", "t", "--log-level", "debug"])
    assert options == AgentOptions(url="http://x", token_file="t", log_level="debug")


@pytest.mark.parametrize("words", [["--urll", "x"], ["--url"], ["extra"], ["--log-level", "loud"]])
def test_mistakes_on_the_command_line_are_settings_errors(words: "list[str]") -> None:
    with pytest.raises(SettingsError, match="command line: "):
        PROGRAM.parse(["run", *words])


def test_a_token_given_twice_or_unreadable_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both given"):
        load_configuration(AgentOptions(url="http://x", token="a", token_file="b"), {})
    with pytest.raises(SettingsError, match="cannot be read"):
        load_configuration(AgentOptions(url="http://x", token_file=str(tmp_path / "none")), {})
    with pytest.raises(SettingsError, match="is empty"):
        load_configuration(AgentOptions(url="http://x", token_file=_file(tmp_path, "\n", "token")), {})


def test_secrets_of_sinks_and_receivers_in_files_that_all_can_read_give_warnings(tmp_path: Path) -> None:
    sinks = {"central": {"type": "http", "url": "https://x", "jwt": "abc"}}
    receivers = {"relay": {"type": "http", "address": "127.0.0.1", "token": "abc"}}
    whole = Path(_file(tmp_path, {"sinks": sinks, "receivers": receivers}, "whole.json"))
    parts = Path(_file(tmp_path, {"sinks": "sinks.json", "receivers-file": "receivers.json"}, "parts.json"))
    _file(tmp_path, sinks, "sinks.json")
    _file(tmp_path, receivers, "receivers.json")
    keys = ["sinks.central: jwt", "receivers.relay: token"]
    assert _open_secrets(whole) == _open_secrets(parts) == []
    parts.chmod(0o644)
    assert _open_secrets(parts) == []
    for path in (whole, tmp_path / "sinks.json", tmp_path / "receivers.json"):
        path.chmod(0o644)
    assert [warning.split(": ", 1)[1].rpartition(": is secret")[0] for warning in _open_secrets(whole)] == keys
    assert [warning.split(": ", 1)[1].rpartition(": is secret")[0] for warning in _open_secrets(parts)] == keys


def _open_secrets(path: Path) -> "list[str]":
    warnings = load_configuration(AgentOptions(config=str(path)), {}).warnings
    return [warning for warning in warnings if "everybody on this machine" in warning]
