import pytest

from cc_common.check_report import FAILS, NOTE, CheckResult, print_report


def test_each_result_is_a_line_with_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        CheckResult("disk", "can be written"),
        CheckResult("GPU", "none", NOTE),
        CheckResult("net", "down", FAILS),
    ]
    assert print_report(results) == 1
    assert capsys.readouterr().out == "works  disk: can be written\nnote   GPU: none\nFAILS  net: down\n"


def test_without_a_failure_the_exit_status_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_report([CheckResult("disk", "can be written"), CheckResult("GPU", "none", NOTE)]) == 0
    assert "FAILS" not in capsys.readouterr().out
