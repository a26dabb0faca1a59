"""Numbers: every common way to write one, in answers and in references."""

from random import Random

import pytest

from hfllm.evaluation.graders import is_correct
from hfllm.evaluation.numbers import given, same_number, the_number

RIGHT = [  # (reference, a text that gives it)
    # thousands and decimals
    ("1200", "The total is $1,200."), ("1,200", "1,200"), ("1000", "The total is 1,000."),
    ("1200", "1 200"), ("1200", "1\u2009200 m"), ("1200", "1\u202f200"), ("1200", "1\u00a0200 €"),
    ("1200.5", "1.200,5"), ("1200000", "1.200.000"), ("1.2", "1.200"), ("1200", "1'200"),
    ("1200", "1\u2019200"), ("100000", "1,00,000"), ("1234567.89", "1,234,567.89"),
    ("1.5", "1,5"), ("5", "1,5"), ("1,5", "1.5"), ("3.5", "3.50"), (".5", "0.5"), ("0.5", ".5"),
    ("5", "5."), ("10", "\uff11\uff10"), ("16", "1,234 and 16"), ("300", "In 2020 300 people"),
    # signs and hyphens
    ("-5", "It is -5."), ("-5", "It is \u22125"), ("-3", "minus 3"), ("3", "5 minus 2 is 3"),
    ("-2", "5 minus 7 is minus 2"), ("-5", "-$5"), ("-5", "$-5"), ("-734", "25-759=-734"),
    ("-734", "25 - 759 = -734"), ("5", "12-5"), ("2", "- 2 apples"), ("3", "It is between 1-3"),
    # fractions, powers, LaTeX
    ("3/4", r"\boxed{\frac{3}{4}}"), ("0.75", "3/4"), ("1.5", "1 1/2 cups"), ("1.5", "1½"),
    ("0.5", "½"), ("42", r"\boxed{42} and so 43"), ("1200", "1.2e3"), ("1200", "1.2 × 10³"),
    ("1200", r"$1.2 \times 10^{3}$"), ("1024", "2^10"), ("25", "5² = 25"), ("1000", r"1{,}000"),
    # units, percent, large
    ("12", "The area is 12 m²"), ("12", "12 m^2"), ("12", "12 km2"), ("9", "9 (apples)"),
    ("12", "12%"), ("0.12", "12%"), ("12%", "0.12"), ("12", "12 percent"),
    ("1200000", "1.2 million"), ("5", "5 million"), ("30", "costs $30/day"),
    # calculations, and what marks a result
    ("18", "9*2=18, so she makes $18 every day."), ("7", "10-3=7 eggs, as 12-5"),
    ("59", "59 = 34 + 25"), ("8", "5+3=8."), ("3", "12/4=3"), ("18", "by 2 and 9\n#### 18"),
    ("1200", "#### 1,200"), ("60", "The answer is 59. Or 60."), ("42", "**42**"), ("3", "x = 3"),
]  # fmt: skip
WRONG = [
    ("-3", "3"), ("12%", "0.12%"), ("12", "0.12"), ("1200", "1.200"), ("200", "1,200"),
    ("50", "50/50"), ("19", "It is COVID-19"), ("5", "s-1, h-2, a-3, d-4, o-5"), ("3", "three"),
    ("5", "9" * 5000), ("5", "1e999999999"), ("0", "1/0"), ("59", "The answer is 59. Or 60."),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "text"), RIGHT)
def test_a_number_is_read_however_it_is_written(wanted, text):
    assert same_number(text, wanted)
    assert is_correct({"answer": wanted, "check": "number"}, text)


@pytest.mark.parametrize(("wanted", "text"), WRONG)
def test_another_number_is_another_one(wanted, text):
    assert not same_number(text, wanted)


@pytest.mark.parametrize("wanted", ["", "seven", "3 or 4", "True", "nan", "12-5"])
def test_a_reference_that_is_not_one_number_is_refused_with_its_row(wanted):
    with pytest.raises(ValueError, match="is not one number"):
        the_number(wanted)
    row = {"id": "r1", "answer": wanted or "?", "check": "number"}
    with pytest.raises(ValueError, match="row r1: `answer`: .* is not one number; correct it, or"):
        is_correct(row, "3")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["9", "1,", "1 ", "1-", "1/", "^", "\\boxed{", "{", "minus ", "1.000"]
)
def test_hostile_texts_take_no_more_than_linear_time(piece):
    same_number(piece * 20_000, "1")


def test_no_text_whatever_is_an_error():
    """Signs, digits and separators in any order: a text never fails, and 7 at its end is found."""
    random = Random(0)
    signs = ["1", "23", "456", ".", ",", "-", "/", "^", " ", "%", "e", "x10^", "(", ")", "½", "²"]
    signs += ["\u2009", "$", "=", "minus ", " million", "\\frac{1}{", "}", "\\boxed{", "####", "'"]
    for _ in range(20_000):
        text = "".join(random.choices(signs, k=random.randrange(1, 12)))
        given(text)
        if "boxed" not in text:
            assert same_number(f"{text} #### 7", "7")
