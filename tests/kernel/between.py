"""Two tasks on one host under the real table, and all that one sends to the other."""

import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from calico.dataplane.changes import CommitTable
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.render.host import RenderMemory, render_host
from calico.model import Snapshot
from reconciler.core.plan import plan_host
from reconciler.core.reaching.reach import UDP, Packet
from tests.dataplane_worlds import HERE_ADDRESS
from tests.kernel.namespaces import Namespace
from tests.kernel.packets import NUMBERS, Arrivals, FrameSender, bytes_of
from tests.kernel.tables import A1, A1_6, A2, SPECS, TABLE_CONFIG, make_world

OURS = {address.packed for address in (A1, A1_6, HERE_ADDRESS)}
#: Seconds that a packet may take which should arrive.
LATEST = 0.5


@dataclass
class Between:
    """Two tasks under the real table, and all that is sent between them."""

    dataplane: KernelDataplane
    sender: FrameSender
    arrivals: Arrivals
    host: socket.socket
    numbers: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(1, NUMBERS)))
    memory: RenderMemory = field(default_factory=RenderMemory)

    def bring_in(self, world: Snapshot) -> None:
        """Change the table from whatever it is to what a world asks for."""
        desired = render_host(world, TABLE_CONFIG, self.memory).state
        plan = plan_host(self.dataplane.observe(), desired, {}).plan
        self.dataplane.apply(tuple(each for each in plan if isinstance(each, CommitTable)))
        with NFCTSocket() as tracked:
            tracked.flush()

    def passed(self, sent: Sequence[Packet]) -> list[Packet]:
        """Those that arrive; the last that is sent always does, and nothing comes after it."""
        packet_by_number = {next(self.numbers): packet for packet in sent}
        last = next(self.numbers)
        for number, packet in packet_by_number.items():
            self.sender.send(packet, number)
        self.host.sendto(bytes_of(Packet(HERE_ADDRESS, A2, UDP, 9, 9), last), (str(A2), 0))
        seen = self.arrivals.until(lambda found: last in found, LATEST)
        assert last in seen, "nothing arrives at all"
        return [packet for number, packet in packet_by_number.items() if number in seen]


@contextmanager
def between_tasks(make: Callable[[], Namespace]) -> Iterator[Between]:
    """From a1 to a2, both of both families."""
    world = make_world(make)
    # SCTP's checksum is left out, and its packets would be invalid.
    Path("/proc/sys/net/netfilter/nf_conntrack_checksum").write_text("0")
    mac = SPECS["a1"].mac
    assert mac is not None
    with (
        closing(KernelDataplane()) as dataplane,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as host,
    ):
        sender = FrameSender(world["a1"], mac)
        arrivals = Arrivals(world["a2"], lambda packet: _source(packet) in OURS)
        yield Between(dataplane, sender, arrivals, host)


def _source(packet: bytes) -> bytes:
    return packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]
