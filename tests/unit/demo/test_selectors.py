"""Label selectors of `GET /v2/apps?label=`."""

import pytest

from demo.marathon.api.selectors import parse_selector
from demo.marathon.errors import ApiError

LABELS = {"tier": "front", "stage": "prod", "a/b": "x y"}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("tier", True),
        ("missing", False),
        ("tier==front", True),
        ("tier==back", False),
        ("tier!=back", True),
        ("missing!=back", False),
        ("tier in (front, back)", True),
        ("tier notin (front)", False),
        ("missing notin (front)", False),
        ("tier==front, stage==prod", True),
        ("tier==front,stage==test", False),
        (r"a\/b==x\ y", True),
    ],
)
def test_a_selector_chooses_by_labels(text: str, fits: bool) -> None:
    assert parse_selector(text)(LABELS) is fits


@pytest.mark.parametrize("text", ["tier=front", "==x", "tier in front", "a b"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_selector(text)
    assert refusal.value.status == 422
