import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.insight.curve_maths import downsample, find_gaps, find_outliers, quantiles

NAN = float("nan")


def test_two_kinds_of_nodes_are_no_outliers() -> None:
    assert find_outliers(np.array([[95.0]] * 6 + [[1.0]] * 6)[:, 0]) == []


def test_noise_makes_no_outliers() -> None:
    rows = 100 + np.random.default_rng(1).standard_normal((20, 50))
    assert find_outliers(rows.mean(axis=1)) == []


def test_a_gap_is_where_no_series_has_a_value() -> None:
    rows = np.array([[1, NAN, NAN, NAN, 1, 1], [1, 1, NAN, NAN, 1, 1]])
    assert find_gaps(rows) == ((2, 4),)


def test_late_data_and_single_missing_samples_are_no_gaps() -> None:
    assert find_gaps(np.array([[1, NAN, 1, 1, NAN, NAN, NAN]])) == ()


def test_data_that_begins_late_is_a_gap() -> None:
    assert find_gaps(np.array([[NAN, NAN, NAN, 1, 1]])) == ((0, 3),)


@pytest.mark.parametrize("rows", [np.empty((0, 0)), np.full((2, 5), NAN)])
def test_nothing_measured_is_no_gap(rows: np.ndarray) -> None:
    assert find_gaps(rows) == ()


def test_long_curves_are_thinned_to_means_that_leave_gaps_out() -> None:
    rows, every = downsample(np.array([[1, 3, NAN, 5, NAN, NAN, 7]]), 4)
    assert every == 2
    np.testing.assert_array_equal(rows, [[2, 5, NAN, 7]])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 50))
def test_thinning_stays_within_the_values_and_the_limit(values: list[float], most: int) -> None:
    rows, _ = downsample(np.array([values]), most)
    assert rows.shape[1] <= most
    assert min(values) - 1e-6 <= rows.min()
    assert rows.max() <= max(values) + 1e-6


values = st.one_of(st.floats(-1e6, 1e6), st.just(NAN))


@given(
    st.integers(1, 12).flatmap(lambda n: st.lists(st.lists(values, min_size=n, max_size=n), min_size=1, max_size=20))
)
def test_quantiles_are_those_of_what_is_there(rows: list[list[float]]) -> None:
    shares = (0, 0.25, 0.5, 0.75, 1)
    found = quantiles(np.array(rows), shares)
    for column, got in zip(np.array(rows).T, found.T, strict=True):
        known = column[np.isfinite(column)]
        if known.size:
            np.testing.assert_allclose(got, np.quantile(known, shares), rtol=1e-9, atol=1e-6)
        else:
            assert np.isnan(got).all()


def test_a_third_of_the_rows_can_be_outliers_and_one_more_cannot() -> None:
    assert find_outliers(np.array([[10.0]] * 4 + [[1.0]] * 2)[:, 0]) == [4, 5]
    assert find_outliers(np.array([[10.0]] * 7 + [[1.0]] * 4)[:, 0]) == []


def test_one_of_four_rows_can_be_an_outlier_and_three_rows_have_no_usual_value() -> None:
    assert find_outliers(np.array([[10.0]] * 3 + [[1.0]])[:, 0]) == [3]
    assert find_outliers(np.array([[10.0]] * 2 + [[1.0]])[:, 0]) == []


def test_a_row_is_an_outlier_from_more_than_a_fifth_of_the_usual_value_on() -> None:
    assert find_outliers(np.array([[10.0]] * 5 + [[8.0]])[:, 0]) == []
    assert find_outliers(np.array([[10.0]] * 5 + [[7.9]])[:, 0]) == [5]


def test_two_missing_slots_are_a_gap_in_a_plot_and_one_is_none() -> None:
    assert find_gaps(np.array([[1.0, NAN, 1.0]])) == ()
    assert find_gaps(np.array([[1.0, NAN, NAN, 1.0]])) == ((1, 3),)
