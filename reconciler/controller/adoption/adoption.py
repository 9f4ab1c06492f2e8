"""Nothing is given before it is known what hosts hold of an earlier store.

A store that was wiped, restored from a backup or replaced looks like any
other. Those who know better are the agents: one that believed more than this
store says tells so, and what it holds. So a new leader begins closed, and
opens once every host has said that it follows this store, or after a short
while in which somebody was heard and nobody objected. If somebody objects, it
stays closed until every host has told what it holds, and that is imported.
Somebody who objects to a store that is in use already holds back nobody else
for longer than that.
"""

import logging
from collections.abc import Callable, Collection, Sequence

from calico.addressing.handles import draw_text
from calico.cluster import HoldKind, ObjectionRecord, Standing, Takeover
from calico.codec import decode_chain, decode_objection
from calico.datastore.api import DirectoryStore
from calico.errors import InvalidValue
from calico.keys import (
    CHAIN,
    CLUSTER_GUID,
    FORGOTTEN,
    OBJECTIONS,
    READY,
    parse_forgotten_key,
    parse_objection_key,
)
from calico.model import HostName, Pool
from reconciler.controller.adoption.chain import append_takeover
from reconciler.controller.adoption.hearing import WAIT, Hearing
from reconciler.controller.adoption.importing import NotImported
from reconciler.controller.adoption.imports import Imports
from reconciler.controller.bootstrap import bootstrap, make_ready
from reconciler.controller.removal.holds import Holds
from reconciler.controller.stored import StoredState
from reconciler.core.adoption import History, is_taken_over
from reconciler.runtime.clock import Clock
from reconciler.runtime.lease import LeaseLost

log = logging.getLogger(__name__)

NOT_YET = "no address is given yet"
UNHEARD = (
    f"{NOT_YET}: Marathon has not answered with a complete list that counts since this"
    " controller began to lead"
)
#: Seconds after which tasks are held, and waited for in silence no longer, although
#: an app fails that may be theirs: more than from one complete list to the next.
BROUGHT_WITHIN = 90.0
#: As many hosts, tasks or groups are named in one sentence.
MOST_NAMED = 5


class Adoption:
    """Whether addresses may be given yet; one thread owns it."""

    def __init__(
        self,
        datastore: DirectoryStore,
        stored: StoredState,
        holds: Holds,
        clock: Clock,
        draw: Callable[[], str] = draw_text,
    ) -> None:
        """`draw` gives a text that no other writer has."""
        self._datastore = datastore
        self._stored = stored
        self._holds = holds
        self._draw = draw
        self._nonce = draw()
        #: Those of all takeovers that were sent: one without an answer may be there.
        self._own: set[str] = set()
        self._pools: Sequence[Pool] = ()
        self._chain: tuple[Takeover, ...] = ()
        self._is_new = False
        self._hearing = Hearing(datastore, stored, clock)
        #: Whether it was open before somebody objected.
        self._was_open = False
        #: Who objected since it closed, also if that is to be read no more.
        self._objected: dict[HostName, ObjectionRecord] = {}
        self._imports = Imports(datastore, stored, clock)
        #: Addresses and groups that an operator let go.
        self._waived = NotImported()
        #: Apps of which no list was brought in without a failure since it opened; None
        #: if none was brought in at all.
        self._unbrought: frozenset[str] | None = None
        #: Whether somebody is held back until they are.
        self._awaits_tasks = False
        self.closed = True
        #: Why nothing is given, once that is more than a moment's pause.
        self.reason = ""
        #: Why nothing is given in such a pause.
        self._pause = UNHEARD

    @property
    def standing(self) -> Standing:
        """What operators and agents are told of it."""
        if not self.closed:
            return Standing(opened=self._chain[-1].nonce)
        if self.reason:
            return Standing(waits=f"{self.reason}: see `marathon-calico holds`")
        return Standing(waits=self._pause)

    @property
    def is_pending(self) -> bool:
        """Whether to look again soon, though nobody tells anything new."""
        return self.closed or self._awaits_tasks

    def note_brought(self, failed: Collection[str]) -> None:
        """All tasks of a complete list were given what they should have, but of some apps."""
        if self._unbrought != frozenset():
            self._unbrought = frozenset(failed)

    def begin(self, pools: Sequence[Pool]) -> None:
        """Leave the mark of a takeover; a store that was in use is made complete.

        Raises UnknownSchema, before anything is written, and DatastoreError.
        """
        self._pools = pools
        before = self._append()
        self._is_new = not before or self._datastore.get(READY) is None
        if not self._is_new:
            bootstrap(self._datastore, pools)
        self._read_history()
        self._imports.keep(())
        self._close(was_open=False)

    def look(
        self, named: Collection[HostName], checkpoint: Callable[[], None] = lambda: None
    ) -> None:
        """Hear what hosts tell, import it, and open if all is known.

        `named` are hosts on which Marathon has tasks of ours; `checkpoint` is called
        after each small step. Raises CalicoError, and LeaseLost if this is not the
        store any more that was taken over.
        """
        self._read_history()
        records = self.objections()
        guid, forgotten = self._stored.history.guid, self._forgotten(records)
        objecting = [
            each
            for each in records
            if each.host not in forgotten and not is_taken_over(each, self._chain, guid)
        ]
        if not self.closed:
            if all(map(self._imports.has, objecting)):
                self._imports.take_over(objecting, self._is_in_use, checkpoint)
                self._review(objecting)
                return
            self._close(was_open=True)
        following = self._stored.following(is_new=False)
        self._objected.update({each.host: each for each in objecting})
        for host in following:
            self._objected.pop(host, None)
        known = {
            host
            for each in self._objected.values()
            if not self._is_late(each)
            for host in each.hosts
        }
        expected = (self._stored.registrations.names() | set(named) | known) - forgotten
        # Whose objection is not to be read does not follow for that.
        unsaid = (expected & self._objected.keys()) - {each.host for each in objecting}
        heard = {each.host for each in records} | self._stored.following(is_new=self._is_new)
        awaited = (expected - heard) | unsaid
        if not self._is_new:
            # To a store that is not ready yet nobody says that he follows it.
            self._hearing.note_heard(heard)
        if self._hearing.is_silent and not (objecting or unsaid):
            follows = f"no agent follows this datastore, not on {_named(awaited)}"
            self._pause = f"{NOT_YET}: {follows}{self._unready()}"
            return
        has_waited = self._hearing.is_over
        if not objecting and not unsaid:
            self._pause = (
                f"{NOT_YET}: {_named(awaited)} may hold what this datastore lacks;"
                f" who does not say within {WAIT:.0f} seconds is not waited for"
            )
            if not awaited or has_waited:
                self._open(())
            return
        if awaited and not has_waited and not all(map(self._is_late, objecting)):
            # One that tells first is not believed before others could follow.
            self._pause = f"{NOT_YET}: {_named(awaited)} may hold what this datastore lacks"
            return
        self._imports.take_over(objecting, self._is_in_use, checkpoint)
        lost = self._imports.not_imported(objecting)
        if all(map(self._is_late, self._objected.values())):
            # Not at once if all others follow: of a store that was just set back,
            # what it says of them is as old as the rest.
            self._pause = (
                f"{NOT_YET}: {_named(self._objected)} told what this datastore lacks;"
                f" others have {WAIT:.0f} seconds to tell the same"
            )
            if has_waited:
                self._open(objecting, objecting)
        elif not (awaited or lost) or self._is_approved(objecting, awaited, lost):
            # What these tell of each other's tasks comes at once, or the controller's.
            only = any(map(self._imports.is_addresses_only, objecting))
            self._open(objecting, objecting if only else (), waived=lost)

    def _unready(self) -> str:
        """Why no agent follows, where somebody has said that none is to; empty if nobody has."""
        ready = self._datastore.get(READY)
        if ready is None or ready.value.strip() == "true":
            return ""
        return f"; {READY} is not true: until somebody sets it so, agents act on nothing new"

    def _is_in_use(self, record: ObjectionRecord) -> bool:
        """Whether others follow this store, so that one host does not say what is in it."""
        return self._is_late(record) or (
            not self._is_new and bool(self._stored.following(is_new=False))
        )

    def objections(self) -> list[ObjectionRecord]:
        """What hosts hold that do not believe this store, as far as it can be read."""
        found = []
        for stored in self._datastore.list(OBJECTIONS).entries:
            host = parse_objection_key(stored.key)
            if host is None:
                continue
            try:
                found.append(decode_objection(host, stored.value))
            except InvalidValue as error:
                log.warning("holdings not read", extra={"host": host, "why": str(error)})
        return found

    def _is_late(self, record: ObjectionRecord) -> bool:
        """Whether others went on without what a host holds: it can hold back only itself."""
        return self._was_open or (
            record.guid != self._stored.history.guid
            and any(record.guid in takeover.adopts for takeover in self._chain)
        )

    def _close(self, *, was_open: bool) -> None:
        self.closed, self.reason, self._pause = True, "", UNHEARD
        self._hearing.begin()
        self._was_open, self._objected, self._awaits_tasks = was_open, {}, False

    def _is_approved(
        self,
        objecting: Sequence[ObjectionRecord],
        awaited: Collection[HostName],
        lost: NotImported,
        tasks: Collection[str] = (),
    ) -> bool:
        who = ", ".join(sorted({each.host for each in objecting} | self._objected.keys()))
        told = f"this datastore lacks what {who} took from an earlier one"
        if awaited:
            told += f"; not heard of yet: {', '.join(sorted(awaited))}{self._unready()}"
        if lost.addresses:
            addresses = ", ".join(map(str, sorted(lost.addresses)))
            told += f"; claimed by more than one, in no pool, or not to be read: {addresses}"
        if lost.groups:
            told += f"; rules that only one of them tells so: of {_named(lost.groups)}"
        if tasks:
            told += f"; tasks to which the controller gave no network: {_named(tasks)}"
        if tasks and self._unbrought:
            told += (
                f"; apps that fail to be read or brought, maybe theirs: {_named(self._unbrought)}"
            )
        if self.closed:
            told = self.reason = f"{told}; no address is given until that is clear"
        else:
            told += f"; nothing changes on {who} until that is clear"
        # No host is called so: those are the ones to forget.
        others = (*(f"group {each}" for each in lost.groups), *(f"task {each}" for each in tasks))
        subjects = (*awaited, *map(str, lost.addresses), *others)
        if self._holds.approves(HoldKind.STORE, subjects):
            return True
        self._holds.hold(HoldKind.STORE, subjects, told)
        return False

    def _review(self, withheld: Sequence[ObjectionRecord]) -> None:
        """Let a store in use go on without what only these wait for."""
        waiting = {each: self._imports.waiting(each) for each in withheld}
        self._awaits_tasks = any(waiting.values()) and not self._has_waited()
        if self._awaits_tasks:
            return
        # Which of an app's tasks live nobody knows while it fails: whoever acts on a store
        # that lacks them cuts them off.
        all_wait = bool(self._unbrought) and any(waiting.values())
        held = [each for each in withheld if all_wait or waiting[each] or self._is_lost(each)]
        lost = self._imports.not_imported(held)
        tasks = frozenset[str]().union(*(waiting[each] for each in held))
        if held and self._is_approved(held, (), lost, tasks):
            held = []
        if settled := [each for each in withheld if each not in held]:
            self._adopt(settled)
            self._read_history()
        self._imports.keep(held)
        if not held:
            self._holds.end(HoldKind.STORE)

    def _has_waited(self) -> bool:
        """Whether all tasks had their time to be brought, or who fails has had it."""
        if self._unbrought is None:
            return False
        return self._hearing.has_lasted(BROUGHT_WITHIN if self._unbrought else WAIT)

    def _is_lost(self, record: ObjectionRecord) -> bool:
        lost = self._imports.not_imported([record])
        return (
            not lost.addresses <= self._waived.addresses or not lost.groups <= self._waived.groups
        )

    def _open(
        self,
        objecting: Sequence[ObjectionRecord],
        withheld: Sequence[ObjectionRecord] = (),
        waived: NotImported = NotImported(),  # noqa: B008 - a frozen value
    ) -> None:
        """Have this store acted on, but by those withheld; what is `waived` withholds nobody."""
        if self._is_new or objecting:
            bootstrap(self._datastore, self._pools)
        followed = [each for each in objecting if each not in withheld]
        if followed:
            self._adopt(followed)
        make_ready(self._datastore)
        self._read_history()
        self._stored.load(self._datastore)
        for stored in self._datastore.list(FORGOTTEN).entries:
            self._datastore.delete(stored.key, expect=stored.revision)
        self._is_new, self._unbrought = False, None
        self._waived, self._objected = waived, {}
        self._hearing.begin()
        self._imports.keep(withheld)
        self.closed, self.reason = False, ""
        self._review(withheld)

    def _adopt(self, objecting: Sequence[ObjectionRecord]) -> None:
        """Have agents know that what their hosts told was taken over."""
        # Not that of the takeover, which agents may have seen already.
        self._nonce = self._draw()
        adopts, hosts = {each.guid for each in objecting}, {each.host for each in objecting}
        # What they have seen of this store may have been lost with its latest
        # takeovers.
        self._append(adopts, hosts, newest=max(each.takeover for each in objecting))
        log.warning("datastore adopted", extra={"hosts": " ".join(sorted(hosts))})

    def _append(
        self, adopts: Collection[str] = (), hosts: Collection[HostName] = (), newest: int = 0
    ) -> tuple[Takeover, ...]:
        self._own.add(self._nonce)
        return append_takeover(self._datastore, self._nonce, adopts, hosts, newest)

    def _read_history(self) -> None:
        """Learn what agents are told of the takeovers; it may be more than was answered.

        Where the last one is not this leader's, another leads: a store that was
        set back may have taken a renewal of this lease for one of the other's.
        """
        told, guid = self._datastore.get(CHAIN), self._datastore.get(CLUSTER_GUID)
        try:
            self._chain = () if told is None else decode_chain(told.value)
        except InvalidValue:
            self._chain = ()
        if not self._chain or self._chain[-1].nonce not in self._own:
            raise LeaseLost("the datastore was set back, or taken over by another")
        self._stored.history = History("" if guid is None else guid.value, self._chain[-1].number)

    def _forgotten(self, records: Collection[ObjectionRecord]) -> frozenset[HostName]:
        """Hosts that an operator declared gone, also those that this store never knew."""
        forgotten = frozenset(self._stored.registrations.forgotten)
        if not records and not self._objected:
            return forgotten
        said = map(parse_forgotten_key, (e.key for e in self._datastore.list(FORGOTTEN).entries))
        # One that has registered since is back.
        return forgotten | (frozenset(filter(None, said)) - self._stored.registrations.names())


def _named(things: Collection[str]) -> str:
    """Some of these in words."""
    named, others = sorted(things)[:MOST_NAMED], len(things) - MOST_NAMED
    return ", ".join(named) + (f" and {others} more" if others > 0 else "")
