"""Whose word Marathon's is."""

import pytest

from reconciler.core.removal.framework import Standing, Trust, judge_frameworks


@pytest.mark.parametrize(
    ("pinned", "told", "standing"),
    [
        pytest.param("a", ["a", "a"], Standing(Trust.OURS, "a"), id="the pinned one"),
        pytest.param("a", ["a"], Standing(Trust.OURS, "a"), id="asked once"),
        pytest.param("a", ["b", "b"], Standing(Trust.FOREIGN, "b"), id="another one"),
        pytest.param("a", ["a", "b"], Standing(Trust.FOREIGN, "b"), id="changed meanwhile"),
        pytest.param("a", ["b", "a"], Standing(Trust.FOREIGN, "b"), id="changed back meanwhile"),
        pytest.param("a", [None, "b"], Standing(Trust.FOREIGN, "b"), id="another one at last"),
        pytest.param("a", [None, None], Standing(Trust.UNTOLD), id="not told"),
        pytest.param("a", ["a", None], Standing(Trust.UNTOLD), id="not told afterwards"),
        pytest.param("a", ["", "a"], Standing(Trust.UNTOLD), id="an empty id"),
        pytest.param("a", ["\x1b[2J"], Standing(Trust.UNTOLD), id="an id that is none"),
        pytest.param("a", ["b" * 201], Standing(Trust.UNTOLD), id="an id that is too long"),
        pytest.param("", ["a", "a"], Standing(Trust.OURS, "a"), id="the first answer"),
        pytest.param("", ["a", "b"], Standing(Trust.UNTOLD), id="two first answers"),
        pytest.param("", [None, "a"], Standing(Trust.UNTOLD), id="half a first answer"),
        pytest.param("", [None, None], Standing(Trust.UNTOLD), id="no first answer"),
        pytest.param("", [], Standing(Trust.UNTOLD), id="nobody was asked"),
    ],
)
def test_who_answers_is_compared_with_what_is_pinned(
    pinned: str, told: list[str | None], standing: Standing
) -> None:
    assert judge_frameworks(pinned, told) == standing
