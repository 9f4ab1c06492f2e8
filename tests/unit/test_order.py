"""What is told to begin first is there."""

from pathlib import Path

import pytest

from tests.conftest import LONGEST

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", LONGEST)
def test_what_begins_first_is_there(file: str) -> None:
    assert (PROJECT / file).is_file()
