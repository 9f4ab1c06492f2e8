"""A controller's one turn: it stands by, leads, and gives the lease back.

What is here waits for nothing but what it is given, so that the order of its
steps is the same in a process and in a simulation of one.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from calico.cluster import HoldRecord, Standing
from calico.errors import CalicoError, DatastoreError, UnknownSchema
from calico.keys import APPLIED, HOSTS, LEADER, POOLS
from reconciler.controller.adoption.adoption import UNHEARD
from reconciler.controller.loop import ControllerLoop, LoopHooks, Stopped
from reconciler.controller.marathon.allow_from import AllowFrom
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.reconcile import Marathon, Reconciler
from reconciler.controller.scheduling.intake import Message
from reconciler.controller.settings import ControllerSettings
from reconciler.controller.stored import StoredState
from reconciler.core.tasks.profiles import NetworkPolicy
from reconciler.runtime.clock import Clock
from reconciler.runtime.complaint import Complaint
from reconciler.runtime.lease import RENEW_EVERY, RENEW_SOON, TTL, FencedDatastore, Lease, LeaseLost
from reconciler.runtime.signals import Stop
from reconciler.runtime.watchfeed import WatchFeed

log = logging.getLogger(__name__)


#: Renewals that tell of a store that was opened, of which hosts that are new to
#: it wait for more than one, until they come as rarely as the lease needs them.
OFTEN = 4


class Mailbox(Protocol):
    """Messages from feeds to the loop; see Inbox."""

    def post(self, message: Message) -> None:
        """Hand a message over; never blocks."""
        ...

    def drain(self, timeout: float) -> tuple[Message, ...]:
        """All messages that wait; waits up to `timeout` seconds for the first."""
        ...


class Joinable(Protocol):
    """Something that runs beside the loop, as a thread does."""

    def join(self, timeout: float) -> None:
        """Wait until it has ended, so many seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """What a turn is given by the process that it is in.

    `start` runs something of that name beside the loop; `reconnect` opens the
    event stream anew, whose items come into the inbox; `jitter` is from 0 up to 1.
    """

    inbox: Mailbox
    start: Callable[[str, Callable[[], None]], Joinable]
    stop: Stop
    clock: Clock
    jitter: Callable[[], float]
    reconnect: Callable[[], None]
    metrics: ControllerMetrics


class Leadership:
    """One turn, from asking for the lease to its end.

    `lead` belongs to one thread, and is called once `stand_by` was true. Others
    may read what it tells of itself.
    """

    def __init__(
        self, settings: ControllerSettings, marathon: Marathon, holder: str, context: ProcessContext
    ) -> None:
        self._settings = settings
        self._marathon = marathon
        self._context = context
        self._lease = Lease(settings.open_datastore(), LEADER, holder, context.clock)
        self._lease.standing = Standing(waits=UNHEARD)
        #: When it last came to an end with something, and with a complete list.
        self.last_step = context.clock.monotonic()
        self.last_resync: float | None = None
        #: What waits for an operator.
        self.holds: tuple[HoldRecord, ...] = ()
        #: Why the datastore does not serve at the moment.
        self.trouble = ""
        #: Why nothing is decided until an operator acts.
        self.blocked = ""
        #: Whether the store is one that this version must not work on.
        self._unfit = False

    @property
    def standing(self) -> Standing:
        """Whether it gives addresses, and what it cannot do."""
        return self._lease.standing

    @property
    def leads(self) -> bool:
        """Whether a write that starts now may still be sent."""
        return self._lease.held

    @property
    def token(self) -> int | None:
        """What every later leader has a greater one of; None without the lease."""
        return self._lease.token

    def stand_by(self) -> bool:
        """Wait for the lease; False if told to stop before."""
        complaint = Complaint(log, "standing by")
        while not self._context.stop.is_set():
            self._note_step()
            try:
                won = self._lease.keep()
            except DatastoreError as error:
                self.trouble = str(error)
                complaint.tell(str(error))
            else:
                self.trouble = ""
                if won:
                    return True
                complaint.tell("another controller leads")
            self._context.stop.wait(RENEW_EVERY)
        self._give_back()
        return False

    def lead(self) -> bool:
        """Work until told to stop, which is true, or until the lease is lost."""
        context = self._context
        loop = self._assemble()
        for prefix in (HOSTS, APPLIED, POOLS):
            feed = WatchFeed(
                prefix,
                self._settings.open_datastore,
                context.inbox.post,
                context.stop,
                context.clock,
            )
            context.start(f"watch {prefix}", feed.run)
        renewing = context.start("lease", self._renew)
        try:
            while not context.stop.is_set() and self._lease.held:
                for message in context.inbox.drain(loop.wait()):
                    loop.handle(message)
                loop.step()
                self._note_step()
                self.last_resync, self.holds = loop.last_resync, loop.holds
                self.blocked = loop.blocked
                self._publish(loop.standing)
        except LeaseLost as error:
            log.warning("leading no more", extra={"why": str(error)})
        except Stopped:
            pass
        except UnknownSchema:
            self._unfit = True
            renewing.join(TTL)
            raise
        if not context.stop.is_set():
            return False
        # What it is given back by may be slow; in this time it runs out by itself.
        renewing.join(TTL)
        return True

    def _assemble(self) -> ControllerLoop:
        settings, context = self._settings, self._context
        datastore = FencedDatastore(settings.open_datastore(self._lease.insist), self._lease)
        stored = StoredState()
        policy = NetworkPolicy(settings.networks, settings.ports_declared)
        reconciler = Reconciler(
            self._marathon, datastore, stored, policy, context.clock, context.metrics
        )
        hooks = LoopHooks(
            prepare=partial(reconciler.adoption.begin, settings.pools),
            allow_from=AllowFrom(datastore, settings.allow_from, settings.marathon),
            listen=self._listen,
            reconnect=context.reconnect,
        )
        return ControllerLoop(
            reconciler,
            stored,
            hooks,
            context.clock,
            context.jitter,
            settings.resync,
            context.metrics,
        )

    def _listen(self) -> Sequence[Message]:
        """What came while a long piece of work goes on; raises Stopped."""
        if self._context.stop.is_set():
            raise Stopped
        self._note_step()
        return self._context.inbox.drain(0.0)

    def _publish(self, standing: Standing) -> None:
        """Have operators and agents know how it stands."""
        before, self._lease.standing = self._lease.standing, standing
        if standing.waits and standing.waits != before.waits:
            log.warning("waiting", extra={"why": standing.waits})
        if standing.opened and not before.opened:
            log.info("addresses are given")

    def _note_step(self) -> None:
        self.last_step = self._context.clock.monotonic()

    def _renew(self) -> None:
        """Keep the lease until there is an end, and give it back as the last renewal left it.

        One thread does both, so that a renewal which is under way is waited for.
        The loop may be within a write then: it is its last, and as harmless as
        that of one which is stopped there.
        """
        complaint = Complaint(log, "lease not renewed")
        told = 0
        while not (
            self._is_over(RENEW_EVERY if told > OFTEN else RENEW_SOON) or self._lease.token is None
        ):
            told = told + 1 if self._lease.standing.opened else 0
            try:
                self._lease.keep()
            except DatastoreError as error:
                self.trouble = str(error)
                complaint.tell(str(error))
            else:
                self.trouble = ""
                complaint.over()
        if self._is_over(0.0):
            self._give_back()

    def _is_over(self, within: float) -> bool:
        """Whether this turn is, after so many seconds, or at once when told to stop."""
        return self._context.stop.wait(within) or self._unfit

    def _give_back(self) -> None:
        try:
            self._lease.release()
        except CalicoError as error:
            log.warning("lease not given back; it runs out", extra={"why": str(error)})
