"""`cc-backend import-checkpoints`, as somebody runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cc_backend.clusters import load_clusters
from cc_backend.jobdata.store_tables import build_metric_table
from cc_backend.metricstore import Query
from cc_backend.settings import load_settings
from cc_backend.startup.store_opening import open_store

COMMAND = Path(sys.executable).with_name("cc-backend")


def cc_backend(*arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CC_")}
    return subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


@pytest.fixture
def config(tmp_path: Path, tern: dict[str, Any]) -> Path:
    (tmp_path / "cluster.json").write_text(json.dumps(tern), "utf-8")
    config = tmp_path / "site" / "config.json"
    for arguments in (["init", tmp_path / "site"], ["cluster", "add", tmp_path / "cluster.json", "--config", config]):
        done = cc_backend(*arguments)
        assert done.returncode == 0, done.stderr
    return config


def test_samples_of_the_reference_are_in_the_store_afterwards(
    reference: Any, config: Path, tmp_path: Path, tern: dict[str, Any]
) -> None:
    metric = tern["metricConfig"][0]["name"]
    timestep_s = tern["metricConfig"][0]["timestep"]
    host = "tn01"
    begin = int(time.time()) // timestep_s * timestep_s - 10 * timestep_s
    root = reference.Level({metric: (timestep_s, begin, [1.5, 2.5]), "unheard": (60, begin, [1])})
    folder = tmp_path / "checkpoints" / "tern" / host
    folder.mkdir(parents=True)
    (folder / "1.bin").write_bytes(reference.binary(root))
    (folder / "2.bin").write_bytes(b"torn")
    done = cc_backend("import-checkpoints", "--config", config, tmp_path / "checkpoints")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "took over 2 samples of 1 hosts from 2 files",
        "left out 1 samples: unknown_metric (unheard)",
        "of 1 files not everything could be read:",
        f"  {folder}/2.bin: it ends at byte 4 in the middle of a header at byte 0",
    ]
    settings = load_settings(config, environment={}).value
    table = build_metric_table(load_clusters(Path(settings.archive.path))[0])
    with open_store(settings.metric_store, table, int(time.time())) as store:
        ((found,),) = store.query("tern", [Query(metric, host)], from_s=begin, to_s=begin + 2 * timestep_s)
        assert found.data.tolist() == [1.5, 2.5]
        busy = cc_backend("import-checkpoints", "--config", config, tmp_path / "checkpoints")
    assert busy.returncode == 1
    assert "in use by another process" in busy.stderr
    again = cc_backend("import-checkpoints", "--config", config, tmp_path / "checkpoints")
    assert again.stdout.splitlines()[:2] == [
        "took over 0 samples of 1 hosts from 2 files",
        "left out 2 samples: the store has one for their slot already",
    ]


def test_a_folder_that_is_not_there_is_named(config: Path, tmp_path: Path) -> None:
    done = cc_backend("import-checkpoints", "--config", config, tmp_path / "nothing")
    assert done.returncode != 0
    assert f"the checkpoint folder {tmp_path}/nothing cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
