"""How the story words what it counts."""

import pytest

from demo.stories.view import times


@pytest.mark.parametrize(("count", "words"), [(0, "0 times"), (1, "once"), (2, "2 times")])
def test_what_was_measured_one_time_was_measured_once(count: int, words: str) -> None:
    assert times(count) == words
