"""Whose word counts after a store was lost."""

import pytest

from calico.cluster import ObjectionRecord, Takeover
from calico.model import AppliedRecord, BootId, HostName
from reconciler.core.adoption import History, is_taken_over

HOST, BOOT = HostName("h"), BootId("boot")
ADOPTING = Takeover(9, "n", ("g",), (HOST,))


@pytest.mark.parametrize(
    ("guid", "takeover", "now", "expected"),
    [
        pytest.param("g", 3, "new", True, id="of a store that this one replaced"),
        pytest.param("g", 8, "g", True, id="of this store, before the takeover"),
        pytest.param("g", 9, "g", False, id="of this store, which was restored since the takeover"),
        pytest.param("g", 12, "g", False, id="of this store, restored to before what it saw"),
        pytest.param("other", 3, "new", False, id="of a store that was not taken over"),
    ],
)
def test_what_a_host_told_is_taken_over_once(
    guid: str, takeover: int, now: str, expected: bool
) -> None:
    assert is_taken_over(ObjectionRecord(HOST, BOOT, guid, takeover), (ADOPTING,), now) is expected


def test_what_another_host_told_is_not() -> None:
    assert not is_taken_over(ObjectionRecord(HostName("i"), BOOT, "g", 3), (ADOPTING,), "new")


@pytest.mark.parametrize(
    ("guid", "takeover", "doubt", "expected"),
    [
        pytest.param("g", 3, "", True, id="the latest takeover"),
        pytest.param("g", 2, "", True, id="an earlier one"),
        pytest.param("g", 4, "", False, id="one that was not"),
        pytest.param("g", 0, "", False, id="none"),
        pytest.param("i", 3, "", False, id="another store"),
        pytest.param("g", 3, "went back", False, id="what it doubts"),
        pytest.param("", 0, "", True, id="nothing, by an older version"),
        pytest.param("", 0, "not ready", False, id="nothing, since it doubts"),
    ],
)
def test_an_agent_counts_that_acts_on(guid: str, takeover: int, doubt: str, expected: bool) -> None:
    word = AppliedRecord(HOST, BOOT, 5, guid=guid, takeover=takeover, doubt=doubt)
    assert History("g", 3).is_of(word) is expected
