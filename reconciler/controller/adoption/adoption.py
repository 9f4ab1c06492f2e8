"""Nothing is given before it is known what hosts hold of an earlier store.

A store that was wiped, restored from a backup or replaced looks like any
other. Those who know better are the agents: one that believed more than this
store says tells so, and what it holds. So a new leader begins closed, and
opens once every host has said that it follows this store, or after a short
while in which nobody objected. If somebody objects, it stays closed until
every host has told what it holds, and that is imported.
"""

import logging
from collections.abc import Callable, Collection, Sequence

from netaddr import IPAddress

from calico.addressing.handles import draw_text
from calico.cluster import HeldRecord, HoldKind, Link
from calico.codec import decode_chain, decode_held
from calico.datastore.api import DirectoryStore
from calico.errors import InvalidValue
from calico.keys import CHAIN, CLUSTER_GUID, HELD, READY, parse_held_key
from calico.model import HostName, Pool
from reconciler.controller.adoption.chain import append_link
from reconciler.controller.adoption.importing import Importer
from reconciler.controller.bootstrap import bootstrap, make_ready
from reconciler.controller.removal.holds import Holds
from reconciler.controller.stored import StoredState
from reconciler.core.adoption import History, holdings_of, is_taken_over
from reconciler.runtime.clock import Clock
from reconciler.runtime.lease import LeaseLost

log = logging.getLogger(__name__)

#: Seconds that hosts are given to object, after which those that are silent are
#: taken for dead. An agent reaches a store that came back within half of it.
WAIT = 10.0


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
        #: Those of all links that were sent: one without an answer may be there.
        self._own: set[str] = set()
        self._pools: Sequence[Pool] = ()
        self._chain: tuple[Link, ...] = ()
        self._is_new = False
        self._since = 0.0
        #: What cannot be given to those who claim it, by the host that told.
        self._imported: dict[HeldRecord, frozenset[IPAddress]] = {}
        self.closed = True
        #: Why nothing is given, once that is more than a moment's pause.
        self.reason = ""

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
        self._close()

    def look(self, named: Collection[HostName], between: Callable[[], None] = lambda: None) -> None:
        """Hear what hosts tell, import it, and open if all is known.

        `named` are hosts on which Marathon has tasks of ours; `between` is called
        after each small step. Raises CalicoError, and LeaseLost if this is not the
        store any more that was taken over.
        """
        self._read_history()
        records = self._read()
        guid = self._stored.history.guid
        objecting = [each for each in records if not is_taken_over(each, self._chain, guid)]
        if not self.closed:
            if not objecting:
                return
            self._close()
        heard = {each.host for each in records} | self._stored.following(is_new=self._is_new)
        known = {host for each in objecting for host in each.hosts} - self._stored.forgotten_hosts
        awaited = (self._stored.registered() | set(named) | known) - heard
        if not objecting:
            if not awaited or self._clock.monotonic() - self._since >= WAIT:
                self._open(())
            return
        lost = self._import(objecting, between)
        if (awaited or lost) and not self._is_approved(objecting, awaited, lost):
            return
        self._open(objecting)

    def _close(self) -> None:
        self.closed, self.reason = True, ""
        self._since = self._clock.monotonic()

    def _is_approved(
        self,
        objecting: Sequence[HeldRecord],
        awaited: Collection[HostName],
        lost: Collection[IPAddress],
    ) -> bool:
        who = ", ".join(sorted(each.host for each in objecting))
        told = f"this datastore lacks what {who} took from an earlier one"
        if awaited:
            told += f"; not heard of yet: {', '.join(sorted(awaited))}"
        if lost:
            told += f"; claimed by more than one: {', '.join(map(str, sorted(lost)))}"
        self.reason = f"{told}; no address is given until that is clear"
        subjects = (*awaited, *map(str, lost))
        if self._holds.approves(HoldKind.STORE, subjects):
            return True
        self._holds.hold(HoldKind.STORE, subjects, self.reason)
        return False

    def _import(
        self, objecting: Sequence[HeldRecord], between: Callable[[], None]
    ) -> frozenset[IPAddress]:
        """Take over what was told since; the addresses that nobody can be given."""
        self._imported = {
            each: lost for each, lost in self._imported.items() if each in objecting and not lost
        }
        if any(each not in self._imported for each in objecting):
            self._stored.load(self._datastore)
            importer = Importer(self._datastore, self._stored, list(map(holdings_of, objecting)))
            for each in objecting:
                if each not in self._imported:
                    held = holdings_of(each)
                    self._imported[each] = importer.take_over(held, between)
                    log.warning(
                        "taken over from a host",
                        extra={"host": each.host, "endpoints": len(held.endpoints)},
                    )
        return frozenset[IPAddress]().union(*self._imported.values())

    def _open(self, objecting: Sequence[HeldRecord]) -> None:
        """Have this store acted on, by agents and by the leader."""
        if self._is_new or objecting:
            bootstrap(self._datastore, self._pools)
        if objecting:
            # Not that of the takeover, which agents may have seen already.
            self._nonce = self._draw()
            adopts, hosts = {each.guid for each in objecting}, {each.host for each in objecting}
            self._append(adopts, hosts)
            log.warning("datastore adopted", extra={"hosts": " ".join(sorted(hosts))})
        make_ready(self._datastore)
        self._read_history()
        self._stored.load(self._datastore)
        self._holds.end(HoldKind.STORE)
        self._is_new, self._imported = False, {}
        self.closed, self.reason = False, ""

    def _append(
        self, adopts: Collection[str] = (), hosts: Collection[HostName] = ()
    ) -> tuple[Link, ...]:
        self._own.add(self._nonce)
        return append_link(self._datastore, self._nonce, adopts, hosts)

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

    def _read(self) -> list[HeldRecord]:
        found = []
        for stored in self._datastore.list(HELD).entries:
            host = parse_held_key(stored.key)
            if host is None:
                continue
            try:
                found.append(decode_held(host, stored.value))
            except InvalidValue as error:
                log.warning("holdings not read", extra={"host": host, "why": str(error)})
        return found
