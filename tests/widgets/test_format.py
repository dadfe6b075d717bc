from __future__ import annotations

import pytest

from widgets.format import compact, duration, number, rate, share


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1234567, "1,234,567"), (999.6, "1,000"), (None, "–")])
def test_a_count_has_its_thousands_separated(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10 k"), (462_345, "462 k"), (1_234_567, "1.23 M"), (3.4e9, "3.4 B"), (None, "–")],
)
def test_a_headline_is_short_and_exact_while_it_fits(value: float | None, text: str) -> None:
    assert compact(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.04, "0.0"), (9.94, "9.9"), (1137.4, "1,137"), (None, "–")])
def test_a_rate_has_a_digit_more_when_it_is_small(value: float | None, text: str) -> None:
    assert rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "100 %"), (0.999999, "> 99.99 %"), (0.9987, "99.87 %"), (0.00001, "< 0.01 %"), (0.0, "0 %"), (None, "–")],
)
def test_a_share_is_all_or_nothing_only_when_it_is(value: float | None, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(430, "430 ms"), (1_234, "1.2 s"), (200_000, "3 min 20 s"), (7_260_000, "2 h 1 min"), (None, "–")],
)
def test_a_duration_is_in_the_unit_that_fits(milliseconds: float | None, text: str) -> None:
    assert duration(milliseconds) == text
