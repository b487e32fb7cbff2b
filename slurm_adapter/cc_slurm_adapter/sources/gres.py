"""Parsing generic resources (GRES) and trackable resources (TRES) in the notations of Slurm's versions and plugins.

GPUs and their indices are parsed from `gpu:2`, `gpu:a100:2(IDX:0-1)`, `gpu:a100:2(S:0-1)`, `gres:gpu:2`, `gres/gpu=4`,
`gres/gpu:a100=2,gres/gpu=2`; instances of a GPU (MIG) are GPUs of their own type. Shares of GPUs (`shard`, `mps`) and
their measurements (`gres/gpuutil`, `gres/gpumem`) are not GPUs.
"""

from __future__ import annotations

import re
from typing import List, Mapping, NamedTuple, Optional, Tuple

from cc_slurm_adapter.sources.slurm_values import MAX_TEXT, parse_ids, parse_integer

GPU = "gpu"

_TERM = re.compile(r"[^,()\s]+(?:\([^()]*\))?")  # commas in parentheses separate indices
_PREFIX = re.compile(r"gres[:/]", re.IGNORECASE)
_INDICES = re.compile(r"(?:IDX|INDEX):([0-9][0-9,\-]*)", re.IGNORECASE)
_MAX_GPUS = 4096


class Gres(NamedTuple):
    """An amount of one generic resource; `indices` is empty if they are unknown."""

    name: str
    type: str = ""
    amount: int = 1
    indices: Tuple[int, ...] = ()


def parse_gres(text: str) -> List[Gres]:
    """The resources in a text such as `gpu:a100:2(IDX:0-1),shard:4(1/4,3/4)`; invalid parts are left out."""
    found = [_parse_term(match.group()) for match in _TERM.finditer(text[:MAX_TEXT])]
    return [gres for gres in found if gres is not None]


def _parse_term(term: str) -> Optional[Gres]:
    body, _, inside = term.partition("(")
    prefix = _PREFIX.match(body)
    name, _, rest = (body[prefix.end() :] if prefix else body).partition(":")
    name, equals, amount = name.partition("=")
    if equals:  # gres/gpu=2
        return Gres(name.lower(), "", min(parse_integer(amount), _MAX_GPUS)) if name else None
    kind, equals, amount = rest.partition("=")
    if not equals:  # gpu:a100:2, gpu:2, gpu:a100, gpu
        kind, _, amount = rest.rpartition(":") if _is_count(rest.rpartition(":")[2]) else (rest, "", "1")
    match = _INDICES.search(inside)
    indices = (parse_ids(match.group(1).rstrip(",-")) or ()) if match else ()
    return Gres(name.lower(), kind, min(parse_integer(amount), _MAX_GPUS), indices[:_MAX_GPUS]) if name else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


def gpu_indices(text: str) -> Tuple[int, ...]:
    """The indices of all GPUs in a GRES text, in its order, each once."""
    return tuple(dict.fromkeys(index for gres in parse_gres(text) if gres.name == GPU for index in gres.indices))


def gpu_count(text: str) -> int:
    """The number of GPUs in a GRES text: the total, or the sum over types if that is larger."""
    total, typed = 0, 0
    for gres in parse_gres(text):
        if gres.name == GPU and gres.type:
            typed += gres.amount
        elif gres.name == GPU:
            total += gres.amount
    return max(total, typed)


def gpu_count_of_tres(resources: Mapping[str, str]) -> int:
    """The number of GPUs in the parts of a TRES text, which may have both `gres/gpu` and `gres/gpu:a100`."""
    return gpu_count(",".join(f"{name}={amount}" for name, amount in resources.items() if _PREFIX.match(name)))
