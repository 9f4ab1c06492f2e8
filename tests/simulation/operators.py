"""What an operator does by the command line: the functions behind its commands, on the twin."""

from collections.abc import Callable, Iterator
from contextlib import suppress

from calico.cluster import HoldKind, HoldRecord
from calico.codec import decode_hold
from calico.datastore.api import DirectoryStore
from calico.errors import Conflict
from calico.keys import HOLD, parse_hold_key
from calico.model import HostName
from reconciler.controller.hosts.departure import Departure
from reconciler.controller.removal.approval import approve
from tests.simulation.twins.marathon import MarathonTwin


class Operator:
    """Somebody who knows what is true, and types as fast as a machine."""

    def __init__(
        self, store: DirectoryStore, marathon: MarathonTwin, log: Callable[[str], None]
    ) -> None:
        self._store = store
        self._marathon = marathon
        self._log = log

    def approve_all(self) -> None:
        """Let everything go: Marathon is right about every task by now."""
        for held in self._waiting():
            self._let_go(held)

    def approve_right(self) -> None:
        """Let go of the tasks that are held those that have ended, if that are all."""
        for held in self._waiting():
            if held.kind is HoldKind.TASKS and not self._marathon.named & set(held.subjects):
                self._let_go(held)

    def adopt(self) -> frozenset[str]:
        """Have the store taken for what it is; the hosts that this did not wait for.

        Not while that would cost a task its network which Marathon knows to run.
        """
        silent: set[str] = set()
        for held in self._waiting():
            live = {f"task {each}" for each in self._marathon.named}
            if held.kind is HoldKind.STORE and live.isdisjoint(held.subjects):
                self._let_go(held)
                silent.update(held.subjects)
        return frozenset(silent)

    def forget(self, host: HostName) -> None:
        """Declare a host gone."""
        departure = Departure(self._store)
        with suppress(Conflict):
            departure.forget(host)
            self._log(f"{host} is forgotten, left: {departure.clear(host)}")

    def _waiting(self) -> Iterator[HoldRecord]:
        for stored in self._store.list(HOLD).entries:
            kind = parse_hold_key(stored.key)
            held = None if kind is None else decode_hold(kind, stored.value)
            if held is not None and held.approved != held.plan:
                yield held

    def _let_go(self, held: HoldRecord) -> None:
        if approve(self._store, held):
            self._log(f"approved {held.plan}")
