"""Handles: how many addresses each holder has in which block.

A handle is counted before a block is written and counted less after it, so that
after a crash it claims too much, never too little.
"""

import uuid
from collections.abc import Callable, Mapping

from netaddr import IPNetwork

from calico import codec
from calico.addressing.blocks import OWNER
from calico.datastore.api import ABSENT, Datastore, Revision
from calico.errors import Conflict, DatastoreUnavailable, InvalidName, InvalidValue
from calico.keys import handle_key
from calico.model import HandleId

#: As often as Calico; more lost races in a row are no race.
ATTEMPTS = 100
#: So many writes of one change may stay without an answer.
UNANSWERED = 3


def draw_text() -> str:
    """A text that no other writer has."""
    return uuid.uuid4().hex[:12]


class HandleKnownError(Exception):
    """The handle exists, so it may hold an address somewhere."""


class Handles:
    """What is counted; safe to use anywhere, any number of times at once."""

    def __init__(self, datastore: Datastore, draw: Callable[[], str] = draw_text) -> None:
        """`draw` gives a text that no other writer has, to know one's own writes by."""
        self._datastore = datastore
        self._draw = draw

    def counts(self, handle: HandleId) -> Mapping[IPNetwork, int] | None:
        """The blocks in which a handle may hold something; None if it is unknown.

        It is written before any block, so without it there is nothing.
        """
        stored = self._datastore.get(handle_key(handle))
        return None if stored is None else codec.decode_handle(handle, stored.value)

    def count(
        self,
        handle: HandleId,
        more: Mapping[IPNetwork, int],
        *,
        is_new: bool = False,
        only_new: bool = False,
    ) -> None:
        """Count so many addresses more in each block, at least once.

        `is_new` is whether the handle was unknown just now; raises
        HandleKnownError, having counted nothing, if it is `only_new` and is
        not. Without an answer the handle is read: it has our own words, or we
        count again, since another may have built upon ours.
        """
        key = handle_key(handle)
        stored = None if is_new else self._datastore.get(key)
        written: set[str] = set()
        for _ in range(ATTEMPTS):
            if stored is not None and stored.value in written:
                return
            if stored is not None and only_new:
                raise HandleKnownError
            counts = dict(codec.decode_handle(handle, stored.value) if stored else {})
            for cidr, count in more.items():
                counts[cidr] = counts.get(cidr, 0) + count
            text = codec.encode_handle(handle, counts, self._writer())
            written.add(text)
            try:
                self._datastore.put(key, text, expect=stored.revision if stored else ABSENT)
            except Conflict:
                written.discard(text)
            except DatastoreUnavailable:
                if len(written) == UNANSWERED:
                    raise
            else:
                return
            stored = self._datastore.get(key)
        raise Conflict(f"handle {handle} changes faster than it can be written")

    def uncount(self, handle: HandleId, fewer: Mapping[IPNetwork, int]) -> None:
        """Count so many addresses less, at most once: too high a count is harmless."""
        try:
            self._lower(handle, fewer)
        except (Conflict, DatastoreUnavailable, InvalidName, InvalidValue):
            return

    def _lower(self, handle: HandleId, fewer: Mapping[IPNetwork, int]) -> None:
        unanswered: Revision | None = None
        for _ in range(ATTEMPTS):
            stored = self._datastore.get(handle_key(handle))
            if stored is None or unanswered not in (None, stored.revision):
                # Done, or another wrote: perhaps upon what we wrote.
                return
            counts = dict(codec.decode_handle(handle, stored.value))
            for cidr, count in fewer.items():
                counts[cidr] = counts.get(cidr, 0) - count
            try:
                self.set_counts(handle, counts, stored.revision)
            except Conflict:
                continue
            except DatastoreUnavailable:
                if unanswered is not None:
                    raise
                unanswered = stored.revision
            else:
                return

    def set_counts(
        self, handle: HandleId, counts: Mapping[IPNetwork, int], revision: Revision
    ) -> None:
        """Make a handle of this revision say this; without any count it goes."""
        left = {each: count for each, count in counts.items() if count > 0}
        if left:
            text = codec.encode_handle(handle, left, self._writer())
            self._datastore.put(handle_key(handle), text, expect=revision)
        else:
            self._datastore.delete(handle_key(handle), expect=revision)

    def _writer(self) -> str:
        return f"{OWNER[1]} {self._draw()}"
