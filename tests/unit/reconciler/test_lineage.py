"""Whether one store can be the later self of another."""

import pytest

from calico.cluster import Takeover
from calico.datastore.api import Key, Listing, Revision, Stored
from calico.model import HostName
from reconciler.core.lineage import adopts, contradiction, divergence, missing_write

A, B, C, D = (
    Takeover(1, "a", revision=10),
    Takeover(2, "b", revision=20),
    Takeover(3, "c", revision=30),
    Takeover(4, "d", revision=0),
)


@pytest.mark.parametrize(
    ("believed", "found", "published", "reached"),
    [
        pytest.param((A, B), (A, B), 20, 25, id="as it was"),
        pytest.param((A, B), (A, B, C), 30, 25, id="one takeover later"),
        pytest.param((A, B), (A, B, C, D), 40, 25, id="two takeovers later"),
        pytest.param(
            (A,), (C, D), 40, 15, id="so many later that the takeover is not kept any more"
        ),
        pytest.param(
            (A, B), (A, B, Takeover(3, "c"), D), 40, 25, id="of one the index is not known"
        ),
    ],
)
def test_a_later_self_is_believed(
    believed: tuple[Takeover, ...], found: tuple[Takeover, ...], published: int, reached: int
) -> None:
    assert contradiction(believed, found, published, reached) == ""


@pytest.mark.parametrize(
    ("believed", "found", "published", "reached", "why"),
    [
        pytest.param((A, B), (), 0, 25, "takeover 2 is not among", id="no takeover"),
        pytest.param((A, B), (A,), 10, 25, "takeover 2 is not among", id="one less"),
        pytest.param(
            (A, B), (A, Takeover(2, "x")), 60, 25, "takeover 2", id="another of its number"
        ),
        pytest.param((A, B), (A, B, C), 24, 25, "takeover 3 was told", id="told before"),
        pytest.param((A, B), (A, B, C, D), 40, 35, "takeover 3 was told", id="the one before it"),
    ],
)
def test_an_older_self_is_told(
    believed: tuple[Takeover, ...],
    found: tuple[Takeover, ...],
    published: int,
    reached: int,
    why: str,
) -> None:
    assert why in contradiction(believed, found, published, reached)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param((Takeover(2, "x", ("g",), (HostName("h"),)),), True, id="this host's, of it"),
        pytest.param((Takeover(2, "x", ("g",), (HostName("i"),)),), False, id="another host's"),
        pytest.param((Takeover(2, "x", ("i",), (HostName("h"),)),), False, id="of another store"),
        pytest.param((Takeover(1, "a", ("g",), (HostName("h"),)),), False, id="known before"),
    ],
)
def test_only_a_new_link_that_names_the_host_adopts(
    found: tuple[Takeover, ...], expected: bool
) -> None:
    assert adopts(found, (A,), "g", HostName("h")) is expected


def key(name: str, revision: int, value: str = "") -> Stored:
    return Stored(Key(f"/calico/v1/{name}"), value, Revision(revision))


BELIEVED = (key("a", 10), key("b", 20))


@pytest.mark.parametrize(
    ("index", "found"),
    [
        pytest.param(25, BELIEVED, id="as it was"),
        pytest.param(30, BELIEVED, id="after writes elsewhere"),
        pytest.param(30, (*BELIEVED, key("c", 26)), id="with a key that came since"),
        pytest.param(30, (key("a", 26, "x"), BELIEVED[1]), id="with one that was written since"),
        pytest.param(26, BELIEVED[:1], id="without one that went since"),
        pytest.param(30, (), id="without any, as when a directory was removed"),
    ],
)
def test_a_later_listing_follows_what_was_believed(index: int, found: tuple[Stored, ...]) -> None:
    believed = {each.key: each for each in BELIEVED}
    assert divergence(believed, Revision(25), Listing(Revision(index), found)) == ""


@pytest.mark.parametrize(
    ("index", "found", "why"),
    [
        pytest.param(30, (*BELIEVED, key("c", 25)), "v1/c", id="a key that came before unseen"),
        pytest.param(30, (key("a", 21), BELIEVED[1]), "v1/a", id="one written before unseen"),
        pytest.param(30, (key("a", 9), BELIEVED[1]), "v1/a", id="one as it was earlier"),
        pytest.param(30, (key("a", 10, "x"), BELIEVED[1]), "v1/a", id="another of its index"),
        pytest.param(25, BELIEVED[:1], "more keys", id="one less at the same index"),
    ],
)
def test_a_listing_of_another_past_is_told(index: int, found: tuple[Stored, ...], why: str) -> None:
    believed = {each.key: each for each in BELIEVED}
    assert why in divergence(believed, Revision(25), Listing(Revision(index), found))


@pytest.mark.parametrize(
    ("written", "reached", "is_missing"),
    [
        pytest.param(20, 25, False, id="told as it was written"),
        pytest.param(19, 25, False, id="told as it was written since"),
        pytest.param(21, 20, False, id="not told yet"),
        pytest.param(21, 21, True, id="passed without it"),
    ],
)
def test_what_was_written_is_missing_once_its_index_has_passed_without_it(
    written: int, reached: int, is_missing: bool
) -> None:
    found = {each.key: each for each in BELIEVED}
    told = missing_write({BELIEVED[1].key: Revision(written)}, found, Revision(reached))
    assert bool(told) == is_missing


def test_what_was_written_may_have_been_removed_since() -> None:
    assert missing_write({Key("/calico/v1/gone"): Revision(21)}, {}, Revision(30)) == ""
