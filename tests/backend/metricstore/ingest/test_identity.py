import pytest

from cc_backend.metricstore.ingest.identity import Refusal, identify
from cc_backend.metricstore.model import Identity, MetricSpec, Part, Reason

METRICS = {
    "demo": {"load": MetricSpec(60)},
    "other": {"power": MetricSpec(60)},
    "../known": {"load": MetricSpec(60)},  # as in a table that knows every name
}


def of(default_cluster: str = "", metric: str = "load", **tags: str) -> Identity | Refusal:
    written = {key.replace("_", "-"): text for key, text in tags.items()}
    return identify(metric, written, default_cluster=default_cluster, metrics=METRICS)


@pytest.mark.parametrize(
    ("tags", "part"),
    [
        ({}, Part()),
        ({"type": "node"}, Part()),
        ({"type": "node", "type_id": "0"}, Part()),
        ({"type_id": "7"}, Part()),
        ({"type": "socket", "type_id": "1"}, Part("socket", "1")),
        ({"type": "core"}, Part("core")),
        ({"type": "accelerator", "type_id": "0000:17:00.0"}, Part("accelerator", "0000:17:00.0")),
        (
            {"type": "accelerator", "type_id": "0", "stype": "mig", "stype_id": "1"},
            Part("accelerator", "0", "mig", "1"),
        ),
        ({"type": "node", "stype": "disk", "stype_id": "sda"}, Part("", "", "disk", "sda")),
        ({"stype": "filesystem", "stype_id": "/home"}, Part("", "", "filesystem", "/home")),
        ({"type": "node", "stype_id": "sda"}, Part()),
    ],
)
def test_tags_lead_to_a_part_of_the_host(tags: dict[str, str], part: Part) -> None:
    assert of(cluster="demo", hostname="n1", **tags) == Identity("demo", "n1", "load", part)


def test_of_host_and_hostname_the_last_on_the_line_counts() -> None:
    for keys in (("host", "hostname"), ("hostname", "host")):
        found = of(cluster="demo", **{keys[0]: "first", keys[1]: "last"})
        assert isinstance(found, Identity)
        assert found.host == "last"


def test_a_missing_cluster_is_the_default_cluster() -> None:
    assert of("demo", hostname="n1") == Identity("demo", "n1", "load", Part())


def test_the_cluster_of_the_line_beats_the_default_cluster() -> None:
    assert of("other", cluster="demo", hostname="n1") == Identity("demo", "n1", "load", Part())


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"hostname": "n1"}, Reason.NO_CLUSTER),
        ({"cluster": "demo"}, Reason.NO_HOST),
        ({"cluster": "nowhere", "hostname": "n1"}, Reason.UNKNOWN_CLUSTER),
        ({"cluster": "demo", "hostname": "n1", "metric": "power"}, Reason.UNKNOWN_METRIC),
        ({"metric": "event"}, Reason.UNKNOWN_METRIC),
        ({"cluster": "demo", "metric": "event"}, Reason.UNKNOWN_METRIC),
        ({"cluster": "../demo", "hostname": "n1"}, Reason.BAD_NAME),
        ({"cluster": "../known", "hostname": "n1"}, Reason.BAD_NAME),
        ({"cluster": "../known", "hostname": "n1", "metric": "event"}, Reason.UNKNOWN_METRIC),
        ({"cluster": "demo", "hostname": "../n1"}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "a/b"}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "a\\b"}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "."}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n\x1b"}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n" * 256}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "\u00e4" * 128}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n\udcff"}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n1", "type": "x" * 256}, Reason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n1", "type": "core", "type_id": "1\x7f"}, Reason.BAD_NAME),
    ],
)
def test_what_leads_to_no_series_is_refused_with_the_reason(tags: dict[str, str], reason: Reason) -> None:
    found = of(**tags)
    assert isinstance(found, Refusal)
    assert found.reason is reason
    assert found.text
