"""Writes the generated pages of docs/reference anew; a test compares them with what stands in the tree."""

import sys
from pathlib import Path

from cc_agent.receivers.registry import RECEIVER_TYPES
from cc_agent.settings import AgentSettings
from cc_agent.sinks.registry import SINK_TYPES
from cc_backend.settings import BackendSettings
from cc_backend.storeservice.settings import StoreServiceSettings
from cc_common.settings import reference_page
from cc_slurm_adapter.settings import AdapterSettings

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    return {
        "backend-settings.md": reference_page(BackendSettings, title="Settings of cc-backend"),
        "metric-store-settings.md": reference_page(StoreServiceSettings, title="Settings of cc-backend metric-store"),
        "agent-settings.md": reference_page(AgentSettings, title="Settings of cc-agent", more=_sinks_and_receivers()),
        "slurm-adapter-settings.md": reference_page(AdapterSettings, title="Settings of cc-slurm-adapter"),
    }


def _sinks_and_receivers() -> list[tuple[type, str, str]]:
    return [
        (settings, f"{section}.<name>, type {kind}", (settings.__doc__ or "").splitlines()[0])
        for section, types in (("sinks", SINK_TYPES), ("receivers", RECEIVER_TYPES))
        for kind, settings in types.items()
    ]


def main() -> int:
    """Write all pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote docs/reference/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
