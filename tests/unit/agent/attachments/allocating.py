"""An allocator on a store in memory, for tests."""

from netaddr import IPAddress, IPNetwork

from calico.addressing.audit import drifts
from calico.addressing.blocks import Allocation
from calico.addressing.books import decode_books
from calico.codec import encode_pool
from calico.dataplane.netlink.batches import go_on
from calico.datastore.memory import MemoryDatastore
from calico.keys import IPAM, pool_key
from calico.model import ContainerId, HandleId, HostName, Pool
from reconciler.agent.attachments.allocator import (
    AllocateAsked,
    Allocator,
    ReleaseAsked,
)
from reconciler.agent.attachments.files import KeptAttachment
from reconciler.agent.attachments.requests import Reply
from reconciler.attach.api import AttachError, Wish
from reconciler.runtime.clock import ManualClock
from tests.contract.attach.agent_rig import SteppedStore
from tests.contract.etcd.lossy import LossyStore
from tests.unit.agent.world import HOST

ONE, OTHER = ContainerId("one"), ContainerId("other")
SMALL = Pool(IPNetwork("192.168.0.0/26"))
MOST_WRITES = 12


def asked_for(
    container: ContainerId,
    reply: Reply[tuple[IPAddress, ...] | AttachError],
    wish: Wish | None = None,
    runs: str = "",
) -> AllocateAsked:
    """A request without haste; `runs` is Mesos' word on it."""
    word: Reply[str] = Reply()
    word.settle(runs)
    return AllocateAsked(container, wish or Wish(), 1e9, reply, word, 1e9)


class Bench:
    """An allocator on a store in memory; which containers are known is set by hand."""

    def __init__(self, store: MemoryDatastore | None = None, host: HostName = HOST) -> None:
        self.store = store or MemoryDatastore()
        self.store.put(pool_key(SMALL), encode_pool(SMALL))
        self.lossy = LossyStore(self.store)
        self.answering = SteppedStore(self.lossy, go_on)
        self.clock = ManualClock()
        self.known: set[ContainerId] = set()
        self.attachments: list[KeptAttachment] = []
        self.lost: list[ContainerId] = []
        self.allocator = Allocator(
            host,
            self.answering,
            self.clock,
            self.known.__contains__,
            lambda: self.attachments,
            self.lost.append,
        )
        self.allocator.note_doubt("")

    def allocate(
        self, container: ContainerId, wish: Wish | None = None
    ) -> tuple[IPAddress, ...] | AttachError | None:
        reply: Reply[tuple[IPAddress, ...] | AttachError] = Reply()
        self.allocator.post(asked_for(container, reply, wish or Wish()))
        self.allocator.step()
        return reply.wait(0)

    def release(self, container: ContainerId, *addresses: IPAddress) -> bool | AttachError | None:
        reply: Reply[bool | AttachError] = Reply()
        self.allocator.post(ReleaseAsked(container, addresses, reply))
        self.allocator.step()
        return reply.wait(0)

    def held(self) -> list[Allocation]:
        blocks = decode_books(self.store.list(IPAM).entries).blocks.values()
        return [each for block in blocks for each in block.allocations if each is not None]

    def handles(self) -> set[HandleId | None]:
        return {each.handle for each in self.held()}

    def hosts(self) -> list[HostName | None]:
        return sorted((each.host for each in self.held()), key=str)

    def drifts(self) -> tuple[object, ...]:
        return drifts(decode_books(self.store.list(IPAM).entries))
