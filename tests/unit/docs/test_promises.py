"""The table of promises names tests that are there, and no more of them than there are."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import PAGES, ROOT

PAGE = "docs/reliability.md"
ROW = re.compile(r"^\| (P\d+) \| .* \| (.*) \| (\d+|-) \|$", re.MULTILINE)
NAMED = re.compile(r"`((?:tests/|test_)[\w/*.]+)`")
TEST = re.compile(r"^ *def test_", re.MULTILINE)
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
    assert count >= (0 if told == "-" else int(told)), f"there are {count} tests"
    assert (count == 0) == (told == "-")


def test_every_promise_is_looked_at() -> None:
    assert len(ROWS) == len(re.findall(r"^\| P\d", PAGES[PAGE], re.MULTILINE)) > 20


def test_each_of_the_thirty_things_that_marathon_does_to_its_clients_has_a_test() -> None:
    texts = (each.read_text() for each in FAILURE_MODES.glob("test_*.py"))
    tested = {int(number) for text in texts for number in NUMBERED.findall(text)}
    assert tested == set(range(1, 31))
