"""Nothing is given before it is known what hosts hold of an earlier store.

A store that was wiped, restored from a backup or replaced looks like any
other. Those who know better are the agents: one that believed more than this
store says tells so, and what it holds. So a new leader begins closed, and
opens once every host has said that it follows this store, or after a short
while in which nobody objected. If somebody objects, it stays closed until
every host has told what it holds, and that is imported. Somebody who objects
to a store that is in use already holds back nobody else for longer than that.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from netaddr import IPAddress

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
from reconciler.controller.adoption.importing import Importer
from reconciler.controller.bootstrap import bootstrap, make_ready
from reconciler.controller.removal.holds import Holds
from reconciler.controller.stored import StoredState
from reconciler.core.adoption import History, holdings_of, is_taken_over
from reconciler.runtime.clock import Clock
from reconciler.runtime.lease import LeaseLost

log = logging.getLogger(__name__)

#: Seconds that hosts are given to object, after which those that are silent are
#: taken for dead. An agent that is told of three members, two of which say nothing
#: at all, reaches the third after ten.
WAIT = 15.0

#: Seconds after which claims that nobody could be given are looked at again,
#: where hosts tell the same as before.
RETRY_AFTER = 60.0

NOT_YET = "no address is given yet"
UNHEARD = (
    f"{NOT_YET}: Marathon has not answered with a complete list that counts since this"
    " controller began to lead"
)
#: Hosts that are named in one sentence.
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
        self._clock = clock
        self._draw = draw
        self._nonce = draw()
        #: Those of all takeovers that were sent: one without an answer may be there.
        self._own: set[str] = set()
        self._pools: Sequence[Pool] = ()
        self._chain: tuple[Takeover, ...] = ()
        self._is_new = False
        self._since = 0.0
        #: Whether it was open before somebody objected.
        self._was_open = False
        #: Who objected since it closed, also if that is to be read no more.
        self._objected: dict[HostName, ObjectionRecord] = {}
        #: What cannot be given to those who claim it, by the host that told.
        self._imported: dict[ObjectionRecord, frozenset[IPAddress]] = {}
        #: What was told when that was looked at last, and when that was.
        self._tried: tuple[frozenset[ObjectionRecord], float] = (frozenset(), 0.0)
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
        self._imported = {}
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
            if all(each in self._imported for each in objecting):
                if objecting:
                    self._import(objecting, checkpoint)
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
        has_waited = self._clock.monotonic() - self._since >= WAIT
        if not objecting and not unsaid:
            self._pause = (
                f"{NOT_YET}: {_named(awaited)} may hold what this datastore lacks;"
                f" who does not say within {WAIT:.0f} seconds is not waited for"
            )
            if not awaited or has_waited:
                self._open(())
            return
        lost = self._import(objecting, checkpoint)
        if all(map(self._is_late, self._objected.values())):
            # Not at once if all others follow: of a store that was just set back,
            # what it says of them is as old as the rest.
            self._pause = (
                f"{NOT_YET}: {_named(self._objected)} told what this datastore lacks;"
                f" others have {WAIT:.0f} seconds to tell the same"
            )
            if has_waited:
                self._open(objecting, [each for each in objecting if self._imported[each]])
        elif not (awaited or lost) or self._is_approved(objecting, awaited, lost):
            self._open(objecting)

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
        self._since = self._clock.monotonic()
        self._was_open, self._objected = was_open, {}

    def _is_approved(
        self,
        objecting: Sequence[ObjectionRecord],
        awaited: Collection[HostName],
        lost: Collection[IPAddress],
    ) -> bool:
        who = ", ".join(sorted({each.host for each in objecting} | self._objected.keys()))
        told = f"this datastore lacks what {who} took from an earlier one"
        if awaited:
            told += f"; not heard of yet: {', '.join(sorted(awaited))}"
        if lost:
            addresses = ", ".join(map(str, sorted(lost)))
            told += f"; claimed by more than one, in no pool, or not to be read: {addresses}"
        if self.closed:
            told = self.reason = f"{told}; no address is given until that is clear"
        else:
            told += f"; nothing changes on {who} until that is clear"
        subjects = (*awaited, *map(str, lost))
        if self._holds.approves(HoldKind.STORE, subjects):
            return True
        self._holds.hold(HoldKind.STORE, subjects, told)
        return False

    def _review(self, withheld: Sequence[ObjectionRecord]) -> None:
        """Let a store in use go on without what only these wait for."""
        lost = frozenset[IPAddress]().union(*map(self._imported.__getitem__, withheld))
        if lost and not self._is_approved(withheld, (), lost):
            return
        if withheld:
            self._adopt(withheld)
            self._read_history()
        self._holds.end(HoldKind.STORE)
        self._imported = {}

    def _import(
        self, objecting: Sequence[ObjectionRecord], checkpoint: Callable[[], None]
    ) -> frozenset[IPAddress]:
        """Take over what was told since; the addresses that nobody can be given."""
        told, now = frozenset(objecting), self._clock.monotonic()
        before, at = self._tried
        self._imported = {each: lost for each, lost in self._imported.items() if each in told}
        is_due = told != before or now - at >= RETRY_AFTER
        pending = [
            each
            for each in objecting
            if each not in self._imported or (is_due and self._imported[each])
        ]
        if pending:
            self._stored.load(self._datastore)
            importer = Importer(self._datastore, self._stored, list(map(holdings_of, objecting)))
            for each in pending:
                held = holdings_of(each)
                beyond: Collection[IPAddress] = ()
                if self._is_late(each):
                    # Of a store in use one host's word opens no range: every host
                    # would lead there what it sends to somebody else by now.
                    held = replace(held, pools=())
                    beyond = importer.beyond_pools(held)
                lost = importer.take_over(held, checkpoint, beyond)
                if each not in self._imported:
                    log.warning(
                        "taken over from a host",
                        extra={"host": each.host, "endpoints": len(held.endpoints)},
                    )
                self._imported[each] = lost
            self._tried = told, now
        return frozenset[IPAddress]().union(*self._imported.values())

    def _open(
        self, objecting: Sequence[ObjectionRecord], withheld: Collection[ObjectionRecord] = ()
    ) -> None:
        """Have this store acted on, by the leader and by agents but those that are withheld."""
        if self._is_new or objecting:
            bootstrap(self._datastore, self._pools)
        followed = [each for each in objecting if each not in withheld]
        if followed:
            self._adopt(followed)
        make_ready(self._datastore)
        self._read_history()
        self._stored.load(self._datastore)
        if not withheld:
            self._holds.end(HoldKind.STORE)
        for stored in self._datastore.list(FORGOTTEN).entries:
            self._datastore.delete(stored.key, expect=stored.revision)
        self._is_new = False
        self._imported = {each: self._imported[each] for each in withheld}
        self._objected = {}
        self.closed, self.reason = False, ""
        if withheld:
            self._review(tuple(withheld))

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


def _named(hosts: Collection[HostName]) -> str:
    """Some of these hosts in words."""
    named, others = sorted(hosts)[:MOST_NAMED], len(hosts) - MOST_NAMED
    return ", ".join(named) + (f" and {others} more" if others > 0 else "")
