"""The seam to the store of specs and statuses."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import NewType, Protocol

Key = NewType("Key", str)
Revision = NewType("Revision", int)

#: Expect that the key does not exist.
ABSENT = Revision(0)


@dataclass(frozen=True, slots=True)
class Stored:
    """One key as it was read; `revision` is its last modification.

    `expires` is whether it has a time to live; no part of what it says.
    """

    key: Key
    value: str
    revision: Revision
    expires: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """Every key below a prefix at one moment.

    `revision` is the store's own at that moment: a watch continues after it.
    """

    revision: Revision
    entries: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class Put:
    """A key was written."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Removed:
    """A key went away, by delete or expiry.

    A directory that went away is told as its own key: everything below `key`
    is gone too.
    """

    key: Key
    revision: Revision


WatchEvent = Put | Removed

#: The events of a prefix in order. What it returns in the end is an index up to
#: which there were no others: that of the store when its last wait began.
Watch = Generator[WatchEvent, None, Revision]


class WatchEvents:
    """A watch to be looped over once; `reached` is what it returned in the end."""

    reached = Revision(0)

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __iter__(self) -> Iterator[WatchEvent]:
        """Its events."""
        self.reached = yield from self._watch


#: Raises if a write may not be sent just now.
Fence = Callable[[], None]


def unfenced() -> None:
    """The fence of whoever may write at any time."""


class Datastore(Protocol):
    """Text values under slash-separated keys, with compare-and-swap.

    Every method raises DatastoreUnavailable when no answer came (a write may
    then have been done or not: read back) and DatastoreRefused when the store
    answers but will not serve.
    """

    def get(self, key: Key) -> Stored | None:
        """The newest value, by quorum; None if the key does not exist."""
        ...

    def list(self, prefix: Key) -> Listing:
        """Every key below a prefix, by quorum; an absent prefix is empty."""
        ...

    def put(
        self,
        key: Key,
        value: str,
        *,
        expect: Revision | None = None,
        ttl: int | None = None,
    ) -> Revision:
        """Write a value and tell its revision.

        `expect` is the revision that the key must still have, ABSENT for none
        at all, or None for any; Conflict otherwise. `ttl` is in seconds.
        """
        ...

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        """Remove a key; one that is absent already is a success.

        Raises Conflict if it exists with another revision than `expect`.
        """
        ...

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        """Events below a prefix that came after a revision, in order.

        Ends after `timeout` seconds without an event; the caller then watches
        again after the same, or the last seen, revision. Raises HistoryLost if
        the store has forgotten events in between, and DatastoreUnavailable if
        what answers is not there yet: it lags, or was set back.
        """
        ...


class DirectoryStore(Datastore, Protocol):
    """A datastore with directories that others watch, such as etcd's v2 API.

    Only what leaves a first start as calico-node's would needs them.
    """

    def make_directory(self, key: Key) -> None:
        """Have a directory there for others to watch; one that is there stays as it is.

        Every write makes those above its key, so this is for empty ones only.
        """
        ...
