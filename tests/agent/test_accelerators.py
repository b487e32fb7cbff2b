"""The GPUs of a machine, from a made /proc and /sys."""

from pathlib import Path
from typing import Any

import pytest

from cc_agent.accelerators import LocalAccelerator, find_accelerators, pci_id
from cc_agent.cluster_file import describe_cluster
from cc_agent.options import AgentOptions
from cc_agent.settings import load_configuration


def test_gpus_of_both_makers_are_found(tmp_path: Path, write: Any, add_amd_gpu: Any) -> None:
    gpus = "proc/driver/nvidia/gpus"
    write(f"{gpus}/0000:ca:00.0/information", "Model: \t\t NVIDIA H200\nIRQ:   \t 10\nBus Location: 0000:ca:00.0\n")
    write(f"{gpus}/0000:17:00.0/information", "")
    write(f"{gpus}/nonsense/information", "Model: x\n")
    add_amd_gpu(1, "0001:c1:00.0")
    assert find_accelerators(tmp_path) == [
        LocalAccelerator("00000000:17:00.0", "Nvidia GPU", ""),
        LocalAccelerator("00000000:CA:00.0", "Nvidia GPU", "NVIDIA H200"),
        LocalAccelerator("00000001:C1:00.0", "AMD GPU", ""),
    ]


def test_the_description_of_the_cluster_lists_them(machine: Path, add_amd_gpu: Any) -> None:
    configuration = load_configuration(AgentOptions(url="http://localhost:8080", token="abc"), {})
    (node,) = describe_cluster(configuration, root=machine).document["subClusters"]
    assert "accelerators" not in node["topology"]
    add_amd_gpu(0, "0000:c1:00.0")
    document = describe_cluster(configuration, root=machine).document
    (gpu,) = document["subClusters"][0]["topology"]["accelerators"]
    assert gpu == {"id": "00000000:C1:00.0", "type": "AMD GPU", "model": ""}
    metrics = {entry["name"]: (entry["scope"], entry["unit"]) for entry in document["metricConfig"]}
    assert metrics["acc_utilization"] == ("accelerator", {"base": "%"})
    assert metrics["acc_mem_used"] == ("accelerator", {"base": "B", "prefix": "G"})
    assert metrics["acc_power"] == ("accelerator", {"base": "W"})


@pytest.mark.parametrize(("text", "address"), [("", ""), ("0000:00", ""), ("00000001:0A:1f.7", "00000001:0A:1F.7")])
def test_an_address_has_a_long_domain_in_upper_case(text: str, address: str) -> None:
    assert pci_id(text) == address
