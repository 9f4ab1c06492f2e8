"""The planted bugs fit the code, and how a run with one is judged."""

from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant, Outcome, judge, planted, render_table
from tests.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/planted-bugs.md"


@pytest.mark.parametrize("mutant", [pytest.param(each, id=each.what) for each in MUTANTS])
def test_a_planted_bug_fits_the_code_and_names_its_tests(mutant: Mutant) -> None:
    assert planted(mutant, (ROOT / mutant.file).read_text()) is not None
    assert mutant.tests
    assert [test for test in mutant.tests if not (ROOT / test).exists()] == []


def test_the_page_names_every_planted_bug() -> None:
    table = PAGE.read_text().partition("\n| ")[1:]

    assert "".join(table).lstrip() == render_table(MUTANTS), "python -m tests.mutants --table"


def test_every_planted_bug_is_described_by_itself() -> None:
    assert len({each.what for each in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(
    ("code", "output", "outcome"),
    [
        pytest.param(1, "FAILED tests/a.py::test_b - why\n1 failed", Outcome.CAUGHT, id="red"),
        pytest.param(0, "3 passed", Outcome.SURVIVED, id="green"),
        pytest.param(2, "ERROR tests/a.py\n1 error", Outcome.UNCLEAR, id="not collected"),
        pytest.param(1, "ERROR tests/a.py::test_b\n1 error", Outcome.UNCLEAR, id="no set-up"),
        pytest.param(5, "no tests ran", Outcome.UNCLEAR, id="nothing to run"),
        pytest.param(-9, "", Outcome.UNCLEAR, id="killed"),
    ],
)
def test_only_a_failed_test_catches_a_bug(code: int, output: str, outcome: Outcome) -> None:
    assert judge(code, output)[0] is outcome


def test_the_test_that_caught_it_is_named() -> None:
    told = judge(1, "FAILED tests/a.py::test_b[c d] - assert 1 == 2\n1 failed")[1]

    assert told == "tests/a.py::test_b[c d]"


@pytest.mark.parametrize("text", [pytest.param("", id="gone"), pytest.param("x x", id="twice")])
def test_a_bug_that_does_not_fit_once_is_not_planted(text: str) -> None:
    assert planted(Mutant("P1", "", "", "x", "y", ()), text) is None
