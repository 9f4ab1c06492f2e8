"""The table of promises names tests that are there, and no more of them than there are."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.counts import FEW, MANY
from tests.pages import PAGES, ROOT
from tests.simulation.scenarios import SCENARIOS

PAGE = "docs/reliability.md"
ROW = re.compile(r"^\| (P\d+) \| .* \| (.*) \| (\d+) \|$", re.MULTILINE)
NAMED = re.compile(r"`((?:tests/|test_)[\w/*.]+)`")
TEST = re.compile(r"^ *def test_", re.MULTILINE)
RUNS = re.compile(r"`make test` runs ([\d,]+) schedules, `make soak`\s+([\d,]*\d)")
SCHEDULES = re.compile(r"([\d,]*\d) schedules")
FAILURE_MODES = ROOT / "tests/contract/failure_modes"
NUMBERED = re.compile(r"^def test_f(\d\d)_", re.MULTILINE)
ROWS = [pytest.param(shown, told, id=promise) for promise, shown, told in ROW.findall(PAGES[PAGE])]


def files(shown: str) -> Iterator[Path]:
    """The files that a row names; a name without a folder is in that of the one before."""
    folder = ROOT
    for name in NAMED.findall(shown):
        path = ROOT / name if "/" in name else folder / name
        folder = path.parent
        pattern = path.name if path.suffix == ".py" or path.is_dir() else f"{path.name}.py"
        found = list(folder.glob(pattern))
        assert found, f"{name} is not there"
        for each in found:
            yield from each.rglob("test_*.py") if each.is_dir() else [each]


@pytest.mark.parametrize(("shown", "told"), ROWS)
def test_a_promise_names_tests_that_are_there(shown: str, told: str) -> None:
    count = sum(len(TEST.findall(each.read_text())) for each in set(files(shown)))
    assert count >= int(told) > 0, f"there are {count} tests"


def test_every_promise_is_looked_at() -> None:
    assert len(ROWS) == len(re.findall(r"^\| P\d", PAGES[PAGE], re.MULTILINE)) > 20


def test_as_many_schedules_are_told_of_as_are_run() -> None:
    few, many = f"{FEW.schedules:,}", f"{MANY.schedules:,}"
    assert RUNS.findall(PAGES[PAGE]) == [(few, many)]
    assert set(SCHEDULES.findall(PAGES[PAGE])) == {few}


def test_as_many_scenarios_are_told_of_as_are_spoilt() -> None:
    assert f"takes {len(SCENARIOS)} scenarios" in PAGES[PAGE]
    assert (MANY.stride, FEW.stride) == (1, 12)
    assert "`make test` takes one of twelve" in PAGES[PAGE]


def test_each_of_the_thirty_things_that_marathon_does_to_its_clients_has_a_test() -> None:
    texts = (each.read_text() for each in FAILURE_MODES.glob("test_*.py"))
    tested = {int(number) for text in texts for number in NUMBERED.findall(text)}
    assert tested == set(range(1, 31))
