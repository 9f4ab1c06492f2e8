"""Finds a task its addresses: its container's, those that it asks for, or any."""

from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import replace
from functools import partial
from typing import assert_never

from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.addressing.blocks import OWNER, Block
from calico.addressing.claims import Claim, Claims, Found
from calico.datastore.api import Datastore
from calico.errors import (
    AddressAwaited,
    AddressOutsidePools,
    AddressTaken,
    InvalidValue,
    PoolExhausted,
)
from calico.model import (
    ContainerId,
    EndpointSpec,
    HandleId,
    HostName,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from calico.names import interface_of, interface_of_container
from reconciler.controller.addresses.grace_periods import GracePeriods
from reconciler.controller.stored import StoredState
from reconciler.core.removal.quarantine import FIXED_FOR
from reconciler.core.tasks.attached import attachments_told
from reconciler.core.tasks.wishes import AddressWish, AnyAddress, ContainerAddresses, FixedAddresses

#: Seconds that an attached container of which its agent does not tell what it
#: runs holds up tasks of its host that look as if nothing were attached to them.
UNNAMED_FOR = 10.0

#: Blocks as just read, kept in step with what is written.
Known = MutableMapping[IPNetwork, Found]


class Assigner:
    """Takes addresses for tasks; the handle of each is its task's id."""

    def __init__(
        self, datastore: Datastore, stored: StoredState, monotonic: Callable[[], float]
    ) -> None:
        self._stored = stored
        self._addresses = Addresses(datastore, lambda: stored.pools)
        self._claims = Claims(datastore)
        self._unnamed: GracePeriods[ContainerId] = GracePeriods(monotonic)
        #: Tasks that cannot have all of the addresses that they asked for by name
        #: last: what a leader before may have given them of those is of no use.
        self.unserved: set[TaskId] = set()

    def assign(
        self, record: TaskRecord, wish: AddressWish, known: Known | None = None
    ) -> tuple[IPAddress, ...] | TaskRecord:
        """The task's addresses, or the record that says why there are none."""
        self.unserved.discard(record.task)
        try:
            return self._take(record, wish, known)
        except (PoolExhausted, AddressAwaited) as error:
            return _judged(record, TaskVerdict.PENDING, str(error))
        except AddressTaken as error:
            self._note_unserved(record, wish)
            return self._judge_taken(record, wish, error)
        except AddressOutsidePools as error:
            self._note_unserved(record, wish)
            return _judged(record, TaskVerdict.REFUSED, str(error))
        except InvalidValue as error:
            reason = f"what the datastore holds of its address cannot be read: {error}"
            return _judged(record, TaskVerdict.PENDING, reason)

    def settle_one(self) -> bool:
        """Write what of one claim could wait; tells whether any is left."""
        return self._claims.settle_one()

    def as_wired(self, record: TaskRecord, spec: EndpointSpec) -> TaskRecord:
        """The record with the container whose link the endpoint names, or with none.

        What agents wired is not renamed, also if the record that told its
        container was lost, or something else is reported by now.
        """
        if spec.interface == interface_of(spec.id):
            return replace(record, container="")
        if record.container and _names(ContainerId(record.container), spec):
            return record
        for address in spec.addresses:
            held = self._addresses.allocation(address)
            container = None if held is None else held.container
            if container is not None and _names(container, spec):
                return replace(record, container=container)
        return record

    def as_attached(
        self, record: TaskRecord, spec: EndpointSpec, wish: AddressWish, known: Known | None = None
    ) -> tuple[TaskRecord, tuple[IPAddress, ...]]:
        """The record and the addresses of a task that has an endpoint: as they are, as a rule.

        A task may have been given addresses as if nothing had attached it,
        before its host told of its container. Those are of no use: where the
        container's link is, no second one is made. The container's take their
        place, and they rest as all that no endpoint has.
        """
        record = self.as_wired(record, spec)
        its = attachments_told(record.task, self._stored.attachments_of(record.host))
        if record.container or len(its) != 1:
            return record, spec.addresses
        container = its[0].container
        fixed = wish.addresses if isinstance(wish, FixedAddresses) else ()
        try:
            taken = self._take(record, ContainerAddresses(container, fixed), known)
        except (AddressAwaited, AddressOutsidePools, InvalidValue):
            return record, spec.addresses
        return replace(record, container=container), taken

    def _take(
        self, record: TaskRecord, wish: AddressWish, known: Known | None
    ) -> tuple[IPAddress, ...]:
        handle = HandleId(record.task)
        # Renewed once all are there: a task that waits for one writes nothing.
        held: set[IPAddress] = set()
        match wish:
            case ContainerAddresses(container, fixed):
                marks = dict.fromkeys(fixed, ((FIXED_FOR, record.app),))
                claimed = self._claims.claim(Claim(container, record.host, handle, marks), known)
                if not claimed:
                    raise AddressAwaited(f"container {container} has no address any more")
                self._check(claimed)
                return claimed
            case FixedAddresses(addresses):
                for address in addresses[1:]:
                    # Who cannot have all of them keeps none from others.
                    self._addresses.insist_free(record.host, handle, address)
                for address in addresses:
                    self._addresses.assign_fixed(
                        record.host,
                        handle,
                        address,
                        secondary=(OWNER, (FIXED_FOR, record.app)),
                        held=held,
                    )
                taken = addresses
            case AnyAddress():
                heed = partial(self._heed, record.host)
                self._await_unnamed(record.host)
                taken = tuple(
                    self._addresses.assign(
                        record.host,
                        handle,
                        version=version,
                        secondary=(OWNER,),
                        heed=heed,
                        held=held,
                    )
                    for version in self._addresses.families() or (4,)
                )
            case _:
                assert_never(wish)
        self._check(taken)
        self._addresses.renew(handle, held)
        return taken

    def _check(self, addresses: Iterable[IPAddress]) -> None:
        """Have an endpoint in the pools only, since every host routes it there.

        The books are no proof of that: agents write blocks, wherever they are.
        """
        for address in addresses:
            if not any(address in pool.cidr for pool in self._stored.pools):
                raise AddressOutsidePools(f"address {address}, which it holds, is in no pool")

    def _heed(self, host: HostName, block: Block) -> None:
        """Give nothing of a block while a task of the host may have something of it.

        A plugin may have attached the very task, and nobody has said so yet: a
        second address would never be its own.
        """
        named = {each.container for each in self._stored.attachments_of(host) if each.task}
        for each in block.allocations:
            if each is None or not each.unclaimed or each.container is None:
                continue
            if each.container not in named and each.host == host:
                self._await(each.container, host)

    def _await_unnamed(self, host: HostName) -> None:
        """Give nothing at all while a host tells of a container, but not what it runs."""
        for each in self._stored.attachments_of(host):
            if not each.task:
                self._await(each.container, host)

    def _await(self, container: ContainerId, host: HostName) -> None:
        if self._unnamed.lasts(container, UNNAMED_FOR):
            raise AddressAwaited(
                f"it is not known yet which task container {container} on {host} runs"
            )

    def _note_unserved(self, record: TaskRecord, wish: AddressWish) -> None:
        if isinstance(wish, FixedAddresses):
            self.unserved.add(record.task)

    def _judge_taken(
        self, record: TaskRecord, wish: AddressWish, error: AddressTaken
    ) -> TaskRecord:
        """Whether a fixed address will come free: its holder is of the same app.

        A holder without a record is one whose task was withdrawn: its address
        only waits for the agents. So does one of a container.
        """
        wanted = wish.addresses if isinstance(wish, FixedAddresses) else ()
        why = f"{error}; waits for its release"
        own = HandleId(record.task)
        for handle in {self._addresses.holder(address) for address in wanted} - {None, own}:
            holder = self._stored.records.get(TaskId(handle or ""))
            if holder is not None and holder.value.app != record.app:
                return _judged(record, TaskVerdict.REFUSED, str(error))
            if holder is not None:
                why = f"{error}; waits for its end: an app with a fixed address has one instance"
        return _judged(record, TaskVerdict.PENDING, why)


def _names(container: ContainerId, spec: EndpointSpec) -> bool:
    return interface_of_container(container) == spec.interface


def _judged(record: TaskRecord, verdict: TaskVerdict, reason: str) -> TaskRecord:
    return replace(record, verdict=verdict, reason=reason, container="")
