import pytest

from cc_backend.metricstore.ingest.identity import Rejection, identify
from cc_backend.metricstore.model import HostPart, Identity, MetricSpec, RejectReason

METRICS = {
    "demo": {"load": MetricSpec(60)},
    "other": {"power": MetricSpec(60)},
    "../known": {"load": MetricSpec(60)},  # as in a table that knows every name
}


def of(default_cluster: str = "", metric: str = "load", **tags: str) -> Identity | Rejection:
    written = {key.replace("_", "-"): text for key, text in tags.items()}
    return identify(metric, written, default_cluster=default_cluster, metrics=METRICS)


@pytest.mark.parametrize(
    ("tags", "part"),
    [
        ({}, HostPart()),
        ({"type": "node"}, HostPart()),
        ({"type": "node", "type_id": "0"}, HostPart()),
        ({"type_id": "7"}, HostPart()),
        ({"type": "socket", "type_id": "1"}, HostPart("socket", "1")),
        ({"type": "core"}, HostPart("core")),
        ({"type": "accelerator", "type_id": "0000:17:00.0"}, HostPart("accelerator", "0000:17:00.0")),
        (
            {"type": "accelerator", "type_id": "0", "stype": "mig", "stype_id": "1"},
            HostPart("accelerator", "0", "mig", "1"),
        ),
        ({"type": "node", "stype": "disk", "stype_id": "sda"}, HostPart("", "", "disk", "sda")),
        ({"stype": "filesystem", "stype_id": "/home"}, HostPart("", "", "filesystem", "/home")),
        ({"type": "node", "stype_id": "sda"}, HostPart()),
    ],
)
def test_tags_lead_to_a_part_of_the_host(tags: dict[str, str], part: HostPart) -> None:
    assert of(cluster="demo", hostname="n1", **tags) == Identity("demo", "n1", "load", part)


def test_of_host_and_hostname_the_last_on_the_line_counts() -> None:
    for keys in (("host", "hostname"), ("hostname", "host")):
        found = of(cluster="demo", **{keys[0]: "first", keys[1]: "last"})
        assert isinstance(found, Identity)
        assert found.host == "last"


def test_a_missing_cluster_is_the_default_cluster() -> None:
    assert of("demo", hostname="n1") == Identity("demo", "n1", "load", HostPart())


def test_the_cluster_of_the_line_beats_the_default_cluster() -> None:
    assert of("other", cluster="demo", hostname="n1") == Identity("demo", "n1", "load", HostPart())


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"hostname": "n1"}, RejectReason.NO_CLUSTER),
        ({"cluster": "demo"}, RejectReason.NO_HOST),
        ({"cluster": "nowhere", "hostname": "n1"}, RejectReason.UNKNOWN_CLUSTER),
        ({"cluster": "demo", "hostname": "n1", "metric": "power"}, RejectReason.UNKNOWN_METRIC),
        ({"metric": "event"}, RejectReason.UNKNOWN_METRIC),
        ({"cluster": "demo", "metric": "event"}, RejectReason.UNKNOWN_METRIC),
        ({"cluster": "../demo", "hostname": "n1"}, RejectReason.BAD_NAME),
        ({"cluster": "../known", "hostname": "n1"}, RejectReason.BAD_NAME),
        ({"cluster": "../known", "hostname": "n1", "metric": "event"}, RejectReason.UNKNOWN_METRIC),
        ({"cluster": "demo", "hostname": "../n1"}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "a/b"}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "a\\b"}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "."}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n\x1b"}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n" * 256}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "\u00e4" * 128}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n\udcff"}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n1", "type": "x" * 256}, RejectReason.BAD_NAME),
        ({"cluster": "demo", "hostname": "n1", "type": "core", "type_id": "1\x7f"}, RejectReason.BAD_NAME),
    ],
)
def test_what_leads_to_no_series_is_refused_with_the_reason(tags: dict[str, str], reason: RejectReason) -> None:
    found = of(**tags)
    assert isinstance(found, Rejection)
    assert found.reason is reason
    assert found.text
