"""A metric store as the settings want it, and what it says of itself at its start."""

from pathlib import Path

import pytest

from cc_backend.settings import MetricStoreSettings, WriteAheadLogSettings
from cc_backend.startup import store_opening
from cc_backend.startup.store_opening import open_store
from cc_backend.telemetry import store_metrics


@pytest.mark.parametrize("native", [True, False])
def test_a_store_without_its_parts_in_c_says_so_once_and_in_its_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, native: bool
) -> None:
    monkeypatch.setattr(store_opening, "HAS_NATIVE", native)
    monkeypatch.setattr(store_metrics, "HAS_NATIVE", native)
    settings = MetricStoreSettings(wal=WriteAheadLogSettings(directory=str(tmp_path)))
    open_store(settings, {}, 0).close()
    warnings = [text for text in caplog.messages if "without its parts in C" in text]
    assert len(warnings) == (0 if native else 1)
    (sample,) = store_metrics.build_info_family().samples
    assert sample.labels["native_parts"] == ("yes" if native else "no")
