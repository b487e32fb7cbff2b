"""The GPUs of this machine as cluster.json lists them, by what the drivers show in /proc and /sys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, NamedTuple, Tuple

_AMD = "0x1002"
_CARD = re.compile(r"card([0-9]+)")
_ADDRESS = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE)
_MODEL = re.compile(r"^Model:[ \t]*(\S.*)$", re.MULTILINE)


class LocalAccelerator(NamedTuple):
    """A GPU: its id is the PCI address with a domain of eight digits, in upper case, as collectors send it."""

    id: str
    type: str
    model: str


def find_accelerators(root: Path = Path("/")) -> List[LocalAccelerator]:
    """The GPUs of NVIDIA and AMD with a driver, those of each in the order of their addresses or cards."""
    found: List[LocalAccelerator] = []
    for folder in sorted((root / "proc/driver/nvidia/gpus").glob("*")):
        model = _MODEL.search(_text(folder / "information"))
        address = pci_id(folder.name)
        if address:
            found.append(LocalAccelerator(address, "Nvidia GPU", model.group(1).strip() if model else ""))
    return found + [
        LocalAccelerator(address, "AMD GPU", _text(device / "product_name")) for device, address in amd_devices(root)
    ]


def amd_devices(root: Path) -> List[Tuple[Path, str]]:
    """The folders below /sys of the GPUs of AMD, with their PCI addresses, in the order of their cards."""
    try:
        entries = [(_CARD.fullmatch(entry.name), entry) for entry in (root / "sys/class/drm").iterdir()]
    except OSError:
        return []
    found: List[Tuple[Path, str]] = []
    for _, entry in sorted((int(match.group(1)), entry) for match, entry in entries if match):
        device = entry / "device"
        address = pci_id(_text(device / "uevent"))
        if address and _text(device / "vendor") == _AMD:
            found.append((device, address))
    return found


def pci_id(text: str) -> str:
    """The first PCI address in a text, as ids of accelerators are written; empty if there is none."""
    address = _ADDRESS.search(text)
    if address is None:
        return ""
    domain, bus, slot, function = (int(part, 16) for part in address.groups())
    return f"{domain:08X}:{bus:02X}:{slot:02X}.{function:X}"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
