import json
import re
from typing import Tuple

import pytest

from cc_common.error_codes import ErrorCode, Problem, code_for_status, read_problem


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_code_is_one_short_word_for_programs_with_a_sentence_for_people(code: ErrorCode) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code.value)
    assert len(code.value) <= 32
    assert str(code) == code.value == code.name.lower()
    assert json.dumps({"code": code}) == json.dumps({"code": code.value})
    assert code.meaning
    assert "|" not in code.meaning


@pytest.mark.parametrize("status", range(400, 600))
def test_every_refusing_status_has_a_general_code_that_may_come_with_it(status: int) -> None:
    assert code_for_status(status).allows_status(status)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"status":"x","code":"job_known","error":"there already"}', ("job_known", "there already")),
        (
            b'{"status":"Unprocessable Entity","error":"job is already in the database"}',
            ("", "job is already in the database"),
        ),
        (b'{"message":"not found"}', ("", "not found")),
        (b'{"error":null,"message":"of the two the text counts"}', ("", "of the two the text counts")),
        (b'{"code":17,"error":["a"]}', ("", "")),
        (b'{"code":"%s","error":"x"}' % (b"a" * 65), ("", "x")),
        (b"[1]", ("", "")),
        (b"<html>", ("", "")),
        (b"", ("", "")),
        (b"\xff\xfe", ("", "")),
        (b"[" * 100_000, ("", "")),
        (b'{"error":"%s"}' % (b"a" * (1 << 20)), ("", "")),
    ],
)
def test_what_an_error_response_says_is_read_and_anything_else_says_nothing(body: bytes, said: Tuple[str, str]) -> None:
    assert read_problem(body) == Problem(*said)
