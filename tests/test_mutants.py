"""The checker catches the faults of tests/mutants.py, and guesses what most of them are."""

import re
from collections import Counter

import faults
import pytest
from mutants import MUTANTS

from tinygrad_ft.gradcheck import GradcheckError, check_op
from tinygrad_ft.gradcheck.guess import LAST


def guess_of(mutant):
    """What the checker guesses about a mutant; None if it lets it pass."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        mutant.plant(monkeypatch)
        try:
            check_op(mutant.checked)
        except GradcheckError as error:
            return error.report.worst.guess
    return None


@pytest.fixture(scope="module")
def guesses():
    return [guess_of(mutant) for mutant in MUTANTS]


def is_right(mutant, guess):
    """Whether the guess says what was changed; the one that is made when nothing fits does not count."""
    return bool(mutant.guess and guess and guess != LAST and re.search(mutant.guess, guess))


def test_there_are_enough_of_every_kind():
    kinds = Counter(mutant.kind for mutant in MUTANTS)
    assert len(MUTANTS) >= 70 and kinds.keys() == faults.KINDS
    assert min(kinds.values()) >= 5
    assert len({(mutant.checked, mutant.change) for mutant in MUTANTS}) == len(MUTANTS)


def test_every_fault_is_caught(guesses):
    missed = [f"{m.checked}: {m.change}" for m, guess in zip(MUTANTS, guesses, strict=True) if guess is None]
    assert missed == []


def test_the_guess_is_right_for_at_least_40(guesses):
    pairs = list(zip(MUTANTS, guesses, strict=True))
    right = sum(is_right(m, guess) for m, guess in pairs)
    wrong = [f"{m.checked}: {m.change}: {guess}" for m, guess in pairs if m.guess and not is_right(m, guess)]
    print(f"{len(MUTANTS)} caught, of {right} the guess is right; it is another for\n" + "\n".join(wrong))
    assert right >= 40


def test_a_change_that_is_none_is_not_caught_and_a_wrong_guess_is_not_counted():
    nothing = faults.altered("sin", faults.SIGN, "nothing", lambda gx: gx, "sign")
    assert guess_of(nothing) is None
    minus = faults.altered("sin", faults.SIGN, "-cos x", lambda gx: -gx, "transposed")
    assert guess_of(minus) and not is_right(minus, guess_of(minus))
