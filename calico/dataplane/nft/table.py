"""Our nftables table: one transaction for a change, by the door that is quickest.

Rules, chains and what is new go through libnftables. Elements of sets that are
there already, which is what changes from minute to minute, and comparing the
table with what it should be are done by the kernel's own messages.
"""

from collections.abc import Mapping, Sequence

from calico.dataplane.changes import CommitTable
from calico.dataplane.netlink.wire import Request
from calico.dataplane.nft.elements import NftSocket
from calico.dataplane.nft.guard import TASK_SETS, Guard, gives_mark
from calico.dataplane.nft.library import NftTable
from calico.dataplane.nft.split import Room, split_commit, weight
from calico.dataplane.nft.wire import UnfamiliarError, difference, is_plain
from calico.dataplane.state import Chain, NftSet


class Table:
    """Our table in the namespace of the thread that opens this; used by one thread.

    `most` bounds what one transaction may hold, in bytes, below what the kernel
    permits. With a `mark`, the bit that the table gives packets, a guard stands
    in for it at the host's own ports whenever it is taken away.
    """

    def __init__(self, most: Room | None = None, mark: int | None = None) -> None:
        self._library = NftTable()
        self._mark = mark
        self._guard = None if mark is None else Guard(self._library, mark)
        self._socket = NftSocket()
        self._most = most
        self._room = Room(0, 0)
        self._tasks: Mapping[str, NftSet] = {}

    def open(self) -> None:
        """See that the kernel can do what we need; raises DataplaneUnsupported."""
        self._library.open()
        self._socket.open()
        self._room = self._most or Room(self._library.room, self._socket.room)

    def close(self) -> None:
        """Let go of the kernel; the table stays as it is."""
        self._socket.close()
        self._library.close()

    def read(self) -> tuple[Mapping[str, Chain], Mapping[str, NftSet]]:
        """Our chains and sets; empty if someone took the table away.

        Rules have their digests and, as a rule, no expressions.
        """
        try:
            chains, sets = self._socket.read()
        except UnfamiliarError:
            chains, sets = self._library.read()
        if chains:
            self._note(sets)
        # Without a table that marks so whatever is guarded by now stays so.
        if self._mark is not None and gives_mark(chains, self._mark):
            self._follow()
        return chains, sets

    def commit(self, change: CommitTable) -> None:
        """Make a change true at one instant, or raise and change nothing.

        One that the kernel does not take at once is made in several steps that
        are closed in between; what raises there leaves it closed.
        """
        self._commit(change)
        self._note({each.name: each for each in change.sets})
        self._follow()

    def _note(self, sets: Mapping[str, NftSet]) -> None:
        found = {name: sets[name] for name in TASK_SETS if name in sets}
        self._tasks = {**self._tasks, **found}

    def _follow(self) -> None:
        if self._guard is not None and self._tasks:
            self._guard.follow(self._tasks)

    def _commit(self, change: CommitTable) -> None:
        requests = _elements_only(change)
        if requests is not None and _size(requests) <= self._room.elements:
            if requests:
                self._socket.commit(requests)
        elif weight(change) <= self._room.any:
            self._library.commit(change)
        else:
            for step in split_commit(change, *self.read(), self._room):
                self._step(step)

    def _step(self, step: CommitTable) -> None:
        requests = _elements_only(step)
        if requests is None:
            self._library.commit(step)
        elif requests:
            self._socket.commit(requests)


def _elements_only(change: CommitTable) -> Sequence[Request] | None:
    """The kernel's own messages for a change; None if it takes libnftables."""
    if change.chains or change.removed_chains or change.removed_sets:
        return None
    previous = {each.name: each for each in change.previous_sets}
    requests: list[Request] = []
    for after in change.sets:
        before = previous.get(after.name)
        if before is None or not is_plain(after) or _form(before) != _form(after):
            return None
        try:
            requests.extend(difference(before, after))
        except UnfamiliarError:
            return None
    return requests


def _form(each: NftSet) -> tuple[object, ...]:
    return (each.kind, each.interval, each.verdicts)


def _size(requests: Sequence[Request]) -> int:
    return sum(len(each.body) + 32 for each in requests) + 128
