"""What a batch says about the time, while the clock is in doubt."""

import pytest

from cc_backend.http.ingest import host_and_time


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (b"load,cluster=c,hostname=n1 value=1 1790000000\n", ("n1", 1_790_000_000)),
        (b"load,hostname=n1 value=1 5\nload,host=n2,type=node value=1 1790000000000\n\n", ("n2", 1_790_000_000)),
        (b"load,cluster=c,hostname=n1 value=1\n", None),
        (b"load,cluster=c value=1 1790000000\n", None),
        (b"load,hostname=n1 value=1 soon\n", None),
        (b"load", None),
        (b"", None),
        (b"\n\n", None),
        (b"load,hostname=\xff value=1 1790000000", ("\ufffd", 1_790_000_000)),
    ],
)
def test_the_last_line_of_a_batch_says_who_and_when(batch: bytes, said: tuple[str, int] | None) -> None:
    assert host_and_time(batch) == said
