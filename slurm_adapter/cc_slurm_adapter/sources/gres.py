"""Generic resources (GRES) and trackable resources (TRES) as Slurm's versions, plugins and sites spell them.

GPUs are counted, and their indices read, from all of `gpu:2`, `gpu:a100:2(IDX:0-1)`, `gpu:a100:2(S:0-1)`,
`gres:gpu:2`, `gres/gpu=4`, `gres/gpu:a100=2,gres/gpu=2`; instances of a GPU (MIG) are GPUs of their own type. Shares of
GPUs (`shard`, `mps`) and what is measured of them (`gres/gpuutil`, `gres/gpumem`) are none.
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
    """Some of one generic resource; `indices` is empty where they are not told."""

    name: str
    type: str = ""
    amount: int = 1
    indices: Tuple[int, ...] = ()


def parse_gres(written: str) -> List[Gres]:
    """The resources of a text such as `gpu:a100:2(IDX:0-1),shard:4(1/4,3/4)`; what cannot be read is left out."""
    found = [_parse_term(match.group()) for match in _TERM.finditer(written[:MAX_TEXT])]
    return [gres for gres in found if gres is not None]


def _parse_term(term: str) -> Optional[Gres]:
    body, _, inside = term.partition("(")
    prefix = _PREFIX.match(body)
    name, _, rest = (body[prefix.end() :] if prefix else body).partition(":")
    name, equals, amount = name.partition("=")
    if equals:  # gres/gpu=2
        return Gres(name.lower(), "", parse_integer(amount))
    kind, equals, amount = rest.partition("=")
    if not equals:  # gpu:a100:2, gpu:2, gpu:a100, gpu
        kind, _, amount = rest.rpartition(":") if _is_count(rest.rpartition(":")[2]) else (rest, "", "1")
    match = _INDICES.search(inside)
    indices = (parse_ids(match.group(1).rstrip(",-")) or ()) if match else ()
    return Gres(name.lower(), kind, min(parse_integer(amount), _MAX_GPUS), indices[:_MAX_GPUS]) if name else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


def gpu_indices(written: str) -> Tuple[int, ...]:
    """The indices of all GPUs in such a text, in its order, each once."""
    return tuple(dict.fromkeys(index for gres in parse_gres(written) if gres.name == GPU for index in gres.indices))


def gpu_count(written: str) -> int:
    """How many GPUs such a text names: all together, or the sum of those of each type."""
    total, typed = 0, 0
    for gres in parse_gres(written):
        if gres.name == GPU and gres.type:
            typed += gres.amount
        elif gres.name == GPU:
            total += gres.amount
    return max(total, typed)


def gpu_count_of_tres(resources: Mapping[str, str]) -> int:
    """How many GPUs the parts of a TRES text name, such as `gres/gpu` and `gres/gpu:a100` beside each other."""
    return gpu_count(",".join(f"{name}={amount}" for name, amount in resources.items() if _PREFIX.match(name)))
