import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_slurm_adapter.sources.gres import gpu_count, gpu_count_of_tres, gpu_indices, parse_gres
from cc_slurm_adapter.sources.slurm_values import parse_tres


@pytest.mark.parametrize(
    ("tres", "gpus"),
    [
        ("cpu=4,mem=2000M,node=1,billing=4,gres/gpu=2,gres/gpu:a100=2", 2),
        ("cpu=4,gres/gpu:a100=2,gres/gpu=2", 2),
        ("gres/gpu=4", 4),
        ("gres/gpu:a100=2", 2),
        ("gres/gpu:a100=2,gres/gpu:h100=1", 3),
        ("gres/gpu=1,gres/gpu:a100=2", 2),
        ("GRES/GPU:A100=2", 2),
        ("gres/gpu:1g.5gb=3", 3),
        ("gres/gpu:a100_1g.5gb=3,gres/gpu=3", 3),
        ("gres/gpu:nvidia_a100-sxm4-40gb=1", 1),
        ("gres/shard=8", 0),
        ("gres/shard:a100=8,gres/mps=50", 0),
        ("gres/gpumem=40G,gres/gpuutil=97", 0),
        ("gres/gpu=0", 0),
        ("gres/gpu=N/A", 0),
        ("gres/gpu=-2", 0),
        ("gres/gpu=", 0),
        ("gpu=4", 0),
        ("cpu=4,mem=2000M", 0),
        ("(null)", 0),
        ("N/A", 0),
        ("", 0),
    ],
)
def test_gpus_are_counted_once_from_every_notation_of_trackable_resources(tres: str, gpus: int) -> None:
    assert gpu_count_of_tres(parse_tres(tres)) == gpus


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:4(IDX:0-3)", 4),
        ("gpu:a100:2(S:0-1)", 2),
        ("gpu:a100:2(S:0,1)", 2),
        ("gpu:a100:2(IDX:0-1)", 2),
        ("gpu:a100:1(IDX:0),gpu:v100:2(IDX:3-4)", 3),
        ("gres:gpu:2", 2),
        ("gres/gpu:a100:2", 2),
        ("gres/gpu:2", 2),
        ("gpu:2080ti:3", 3),
        ("gpu:a100", 1),
        ("gpu", 1),
        ("GPU:A100:2(idx:0-1)", 2),
        ("gpu:a100:0(IDX:N/A)", 0),
        ("gpu:1g.5gb:2(IDX:0,3)", 2),
        ("shard:a100:4(1/4,3/4)", 0),
        ("mps:100(IDX:0)", 0),
        ("lustre:1,gpu:1", 1),
        ("mygpu:4", 0),
        ("(null)", 0),
        ("N/A", 0),
        ("", 0),
    ],
)
def test_gpus_are_counted_from_every_notation_of_generic_resources(gres: str, gpus: int) -> None:
    assert gpu_count(gres) == gpus


@pytest.mark.parametrize(
    ("gres", "indices"),
    [
        ("gpu:a100:2(S:0,IDX:0-1)", (0, 1)),
        ("gpu:a100:2(IDX:0-1,S:0)", (0, 1)),
        ("gpu:a100:2(INDEX:2,5)", (2, 5)),
        ("gres/gpu:a100:2(idx:0-1)", (0, 1)),
        ("shard:a100:4(1/4,3/4),gpu:1(IDX:2)", (2,)),
        ("gpu:a100:2(S:0-1)", ()),
        ("gpu:2(IDX:)", ()),
        ("gpu:2(IDX:99999999)", ()),
    ],
)
def test_indices_are_read_wherever_they_stand_in_the_parentheses(gres: str, indices: "tuple[int, ...]") -> None:
    assert gpu_indices(gres) == indices


def test_a_count_that_no_node_has_is_cut() -> None:
    assert gpu_count("gpu:999999999") == 4096


@given(st.text() | st.text(alphabet="gpu:(),=/IDXS0123456789-,N/A "))
def test_no_text_breaks_the_parser(written: str) -> None:
    parse_gres(written)
    assert gpu_count(written) >= 0
    gpu_indices(written)
