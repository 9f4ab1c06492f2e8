"""How the story words what it counts."""

import pytest

from demo.stories.matrix import Cell, Pair
from demo.stories.view import counted, render_waiting, summarize, times


@pytest.mark.parametrize(("count", "words"), [(0, "0 times"), (1, "once"), (2, "2 times")])
def test_what_was_measured_one_time_was_measured_once(count: int, words: str) -> None:
    assert times(count) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs")])
def test_one_of_a_kind_is_not_called_several(count: int, words: str) -> None:
    assert counted(count, "pair") == words


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        pytest.param([Cell.OPEN], "the one pair as called for", id="one"),
        pytest.param([Cell.OPEN, Cell.CLOSED], "all 2 pairs as called for", id="all"),
        pytest.param(
            [Cell.OPEN, Cell.LEAK, Cell.BROKEN], "1 of 3 pairs right, 1 LEAK, 1 BROKEN", id="wrong"
        ),
    ],
)
def test_a_matrix_is_told_in_one_line(cells: list[Cell], words: str) -> None:
    pairs = {Pair("a", f"b{number}", 80): cell for number, cell in enumerate(cells)}

    assert summarize(pairs) == words


def test_what_waits_is_told_by_marathons_own_reasons() -> None:
    reasons = [
        {"reason": "InsufficientPorts", "declined": 2, "processed": 2},
        {"reason": "InsufficientCpus", "declined": 0, "processed": 2},
    ]
    rows = [
        {"app": {"id": "/a"}, "processedOffersSummary": {"rejectSummaryLastOffers": reasons}},
        # Before 1.4 Marathon gave none.
        {"app": {"id": "/b"}},
    ]

    assert render_waiting(rows) == [
        "/a waits in /v2/queue: 2 offers declined: InsufficientPorts",
        "/b waits in /v2/queue",
    ]
