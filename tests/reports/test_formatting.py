"""How numbers and fields are written."""

import pytest

from reports.formatting import (
    axis_label,
    counted,
    describe,
    fixed,
    listed,
    scaled,
    significant,
    value_text,
)
from reports.formatting import without_credentials as clean


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.14159, "3.14"), (0.012345, "0.0123"), (1234.5, "1,234"), (99.99, "100.0"), (0.0, "0"), (None, "—")],
)
def test_numbers_keep_three_significant_digits(value, text):
    assert significant(value) == text


def test_what_is_not_finite_is_never_printed_as_a_number():
    assert significant(float("nan")) == "—"
    assert significant(float("inf")) == "∞"
    assert scaled(None) == "—"


@pytest.mark.parametrize(
    ("value", "text"), [(999, "999"), (1_500, "1.50 k"), (35_700_000, "35.7 M"), (2e9, "2.00 G")]
)
def test_large_counts_get_units(value, text):
    assert scaled(value) == text


def test_negative_numbers_get_a_true_minus_sign():
    assert fixed(-0.314, 2, signed=True) == "−0.31"
    assert fixed(0.314, 2, signed=True) == "+0.31"


def test_fields_are_called_by_the_papers_symbols_or_their_last_part():
    assert describe({"model.channels": 32, "sample.s_churn": 40.0}) == "C = 32, S_churn = 40"
    assert axis_label("objective.noise_schedule") == "noise schedule"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "on"),
        (None, "none"),
        ([1, 2, 2], "1-2-2"),
        ((), "none"),
        ({"kind": "heun", "n": 18}, "heun 18"),
    ],
)
def test_values_of_every_kind_have_a_text(value, text):
    assert value_text(value) == text


def test_sentences_are_joined_as_spoken():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert (counted(1, "cell"), counted(1200, "cell")) == ("1 cell", "1,200 cells")


def test_user_names_and_passwords_leave_urls():
    assert clean("s3 at https://me:canary@host/x and b") == "s3 at https://***@host/x and b"
    assert clean("mail me@host") == "mail me@host"
