"""Gives addresses to containers and takes them back, in a thread with a datastore of its own.

etcd may be slow or absent: nobody but this thread waits for it longer than he
wants to, and what comes too late is undone.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from netaddr import IPAddress

from calico.addressing.addresses import Addresses, read_pools
from calico.addressing.blocks import Allocation, marks_of_container
from calico.datastore.api import Datastore
from calico.errors import (
    AddressError,
    AddressTaken,
    CalicoError,
    DatastoreError,
    InvalidValue,
    PoolExhausted,
)
from calico.model import ContainerId, HandleId, HostName, Pool
from calico.names import handle_of_container
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.attachments.requests import Reply
from reconciler.attach.api import AttachError, AttachRefused, AttachUnavailable, Wish
from reconciler.attach.rules import wanted
from reconciler.core.removal.quarantine import FIXED_FOR
from reconciler.runtime.clock import Clock
from reconciler.runtime.conditions import Conditions
from reconciler.runtime.inbox import Inbox

log = logging.getLogger(__name__)

#: Seconds that it is waited, from the request on, for Mesos' word on what a
#: container runs. What comes later is told in the record of the host.
WORD_WITHIN = 0.25
#: Seconds between two sweeps while something may have been left behind, and
#: between two looks whether containers still have what they hold.
SWEEP_EVERY = 60.0
#: Seconds between two looks at an address that may come free, and those that
#: what follows an allocation needs of its request's time.
AGAIN = 0.1
FOR_THE_REST = 0.8
#: Seconds that they are put off at most while jobs keep coming.
OVERDUE = 5.0
FAMILIES = (4, 6)


@dataclass(frozen=True, slots=True)
class AllocateAsked:
    """Give a container what it wishes for, until `deadline`, monotonic.

    `runs` is answered with the task that it is for, or with nothing; that is
    waited for until `word_until`.
    """

    container: ContainerId
    wish: Wish
    deadline: float
    reply: Reply[tuple[IPAddress, ...] | AttachError]
    runs: Reply[str]
    word_until: float


@dataclass(frozen=True, slots=True)
class ReleaseAsked:
    """Take back what a container holds and no task has claimed.

    The answer is whether no task has any of these addresses from it.
    """

    container: ContainerId
    addresses: tuple[IPAddress, ...]
    reply: Reply[bool | AttachError]


Job = AllocateAsked | ReleaseAsked


def _nobody(_: ContainerId) -> None:
    """It is of no interest."""


class Allocator:
    """Carries jobs out one by one; one thread calls `step`."""

    def __init__(
        self,
        host: HostName,
        datastore: Datastore,
        clock: Clock,
        is_known: Callable[[ContainerId], bool],
        attachments: Callable[[], Iterable[KeptAttachment]] = tuple,
        lost: Callable[[ContainerId], None] = _nobody,
        conditions: Conditions = threading.Condition,
    ) -> None:
        """`is_known` tells whether a container has what it holds, or is about to.

        `lost` is told of those of the `attachments` whose addresses are no longer
        theirs: a task claimed them and was withdrawn while no agent ran, or the
        host was forgotten and is back.
        """
        self._host = host
        self._attachments = attachments
        self._lost = lost
        self._suspects: frozenset[ContainerId] = frozenset()
        self._datastore = datastore
        self._pools: tuple[Pool, ...] = ()
        self._addresses = Addresses(datastore, lambda: self._pools)
        self._clock = clock
        self._is_known = is_known
        self._inbox: Inbox[Job] = Inbox(conditions=conditions)
        self._waiting: list[AllocateAsked] = []
        self._sweep_due: float | None = clock.monotonic()
        self._look_due = clock.monotonic()
        self._doubt = "the datastore is not yet read"
        self._was_doubted = False

    def post(self, job: Job) -> None:
        """Have a job done; never blocks."""
        self._inbox.post(job)

    def note_doubt(self, why: str) -> None:
        """Leave the datastore alone while there is a reason; any thread may tell it.

        There is one from the beginning. What is asked for meanwhile is done later
        or refused, and no container is taken to have lost its addresses.
        """
        self._doubt = why
        if why:
            self._was_doubted = True

    @property
    def was_doubted(self) -> bool:
        """Whether the datastore was doubted since the step before this one."""
        return self._was_doubted

    def run(self, stop: threading.Event) -> None:
        """Work until stopped."""
        while not stop.is_set():
            self.step(timeout=1.0)

    def step(self, timeout: float = 0.0) -> None:
        """Do the jobs that wait, waiting for one; sweep and look when it is time.

        Somebody waits for a job and nobody for those, so they are left to a step
        without jobs - but not for long: there may always be some.
        """
        waiting, self._waiting = self._waiting, []
        jobs = (*waiting, *self._inbox.drain(min(timeout, AGAIN) if waiting else timeout))
        for job in jobs:
            self._do(job)
        now = self._clock.monotonic()
        late = now - OVERDUE if jobs else now
        if self._was_doubted:
            # What was seen lost was seen in another store; what is taken over
            # from this host may be of containers that ended meanwhile.
            self._suspects, self._sweep_due = frozenset(), now
            # In this order: the other thread tells of a doubt in the reverse one.
            self._was_doubted = False
        if self._doubt:
            self._was_doubted = True
            return
        if self._sweep_due is not None and late >= self._sweep_due:
            self._sweep_due = None
            try:
                self.sweep()
            except CalicoError as error:
                log.info("addresses not swept", extra={"why": str(error)})
                self._sweep_later()
        if late >= self._look_due:
            self._look_due = now + SWEEP_EVERY
            try:
                self._look_for_lost()
            except CalicoError as error:
                log.info("addresses not looked after", extra={"why": str(error)})

    def sweep(self) -> int:
        """Release what this host's containers hold that are not there; tells how many.

        A crash leaves such, and an answer of the datastore that came too late.
        """
        released = 0
        for block, _ in self._addresses.blocks():
            for ordinal, allocation in enumerate(block.allocations):
                container = self._orphan(allocation)
                if container is None:
                    continue
                address = block.cidr[ordinal]
                handle = handle_of_container(container)
                if self._addresses.release(handle, address, self._host):
                    released += 1
                    log.info(
                        "orphaned address released",
                        extra={"container": container, "address": str(address)},
                    )
        return released

    def _look_for_lost(self) -> None:
        """Twice in a row, since a claim is seen here sooner than its endpoint."""
        suspects = {
            attachment.container
            for attachment in self._attachments()
            if not (attachment.claimed or attachment.detached)
            and not all(self._holds(attachment.handle, each) for each in attachment.addresses)
        }
        if self._doubt:
            return
        for container in suspects & self._suspects:
            self._lost(container)
        self._suspects = frozenset(suspects)

    def _holds(self, handle: HandleId, address: IPAddress) -> bool:
        """Whether an address is as we gave it; what cannot be read is given to nobody else."""
        try:
            held = self._addresses.allocation(address)
            return held is not None and held.is_of(handle, self._host)
        except InvalidValue:
            return True

    def _orphan(self, allocation: Allocation | None) -> ContainerId | None:
        """The container that an allocation is wrongly held for."""
        if allocation is None or not allocation.unclaimed or allocation.container is None:
            return None
        own = allocation.is_given_on(self._host)
        return allocation.container if own and not self._is_known(allocation.container) else None

    def _do(self, job: Job) -> None:
        match job:
            case AllocateAsked():
                self._allocate(job)
            case ReleaseAsked(container, addresses, reply):
                if self._doubt:
                    reply.settle(AttachUnavailable(self._doubt))
                    return
                try:
                    reply.settle(self._release(container, addresses))
                except CalicoError as error:
                    self._sweep_later()
                    reply.settle(AttachUnavailable(str(error)))
            case _:
                assert_never(job)

    def _allocate(self, job: AllocateAsked) -> None:
        if job.reply.abandoned or self._clock.monotonic() >= job.deadline:
            return
        if self._doubt:
            self._await_belief(job)
            return
        handle = handle_of_container(job.container)
        given: list[IPAddress] = []
        try:
            for address in self._give(job, handle):
                given.append(address)
        except DatastoreError as error:
            answer: tuple[IPAddress, ...] | AttachError = AttachUnavailable(str(error))
            # A write without an answer may still be done, after all that is read now.
            self._sweep_later()
        except (AddressError, InvalidValue) as error:
            if isinstance(error, AddressTaken) and self._comes_free(job):
                self._take_back(job.container)
                self._waiting.append(job)
                return
            answer = AttachRefused(str(error))
        else:
            answer = tuple(sorted(given))
        if isinstance(answer, AttachError):
            # Also what a write without an answer may have given.
            self._take_back(job.container)
            job.reply.settle(answer)
        elif not job.reply.settle(answer):
            self._take_back(job.container)

    def _await_belief(self, job: AllocateAsked) -> None:
        """A doubt may be over soon, as when the agent has just begun."""
        if self._clock.monotonic() < job.deadline - FOR_THE_REST:
            self._waiting.append(job)
        else:
            job.reply.settle(AttachUnavailable(self._doubt))

    def _comes_free(self, job: AllocateAsked) -> bool:
        """Whether to wait for addresses that a task of the same app may be giving back.

        Such a one need not rest, but is free only once the controller has seen
        that a task waits for it, which this one does meanwhile.
        """
        if self._clock.monotonic() >= job.deadline - FOR_THE_REST:
            return False
        held = (self._addresses.allocation(address) for address in job.wish.fixed)
        return any(each is not None and FIXED_FOR in dict(each.secondary) for each in held)

    def _give(self, job: AllocateAsked, handle: HandleId) -> Iterator[IPAddress]:
        # Once for all that a container gets: each reading is a round trip.
        self._pools = read_pools(self._datastore)
        # Mesos was asked when the request came, so it answers meanwhile.
        runs = job.runs.wait(job.word_until - self._clock.monotonic()) or ""
        secondary = marks_of_container(job.container, self._host, runs)
        for address in job.wish.fixed:
            self._addresses.assign_fixed(
                self._host, handle, address, secondary=secondary, given_on=self._host
            )
            yield address
        families = self._addresses.families()
        asked = [
            version
            for version in FAMILIES
            if wanted(job.wish, version, has_pool=version in families)
        ]
        if not asked and not job.wish.fixed:
            raise PoolExhausted("there is no pool to take an address from")
        for version in asked:
            yield self._addresses.assign(
                self._host, handle, version=version, secondary=secondary, given_on=self._host
            )

    def _take_back(self, container: ContainerId) -> None:
        try:
            self._release(container, ())
        except CalicoError as error:
            log.info("addresses not released", extra={"container": container, "why": str(error)})
            self._sweep_later()

    def _release(self, container: ContainerId, addresses: tuple[IPAddress, ...]) -> bool:
        """Release these, and whatever else the container's handle holds of this host.

        A container of another host may have the same id, and what it has there.
        """
        handle, host = handle_of_container(container), self._host
        held = {*addresses, *self._addresses.held_by(handle, host)}
        kept = [each for each in sorted(held) if not self._addresses.release(handle, each, host)]
        claims = (self._addresses.allocation(address) for address in kept)
        return not any(
            each is not None and each.container == container and each.is_given_on(host)
            for each in claims
        )

    def _sweep_later(self) -> None:
        due = self._clock.monotonic() + SWEEP_EVERY
        self._sweep_due = due if self._sweep_due is None else min(due, self._sweep_due)
