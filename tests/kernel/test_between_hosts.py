"""Tasks of two hosts: who began is known to both hosts, and nobody meets halfway."""

import errno
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from netaddr import IPAddress

from calico.dataplane.nft.library import NftTable
from calico.dataplane.render.beginnings import HALFWAY, LEAST_SIGNED, SIGNED, USUAL
from calico.dataplane.state import Chain
from calico.model import Action, HostName, Match, PortRange, Profile, ProfileId, Rule, Tag
from tests.dataplane_worlds import HERE, THERE, commit, spec
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import (
    WAIT,
    family_of,
    ipv4_packet,
    send_raw,
    tcp_payload,
    udp_payload,
)
from tests.kernel.test_closed_table import error_about, icmp_of
from tests.kernel.two_hosts import TwoHosts, make_two_hosts

Make = Callable[[], Namespace]
ONE, TWO = "one", "two"
UDP, UNKNOWN = socket.IPPROTO_UDP, 253
PORT, ASKING = 9000, 5000
MANY = 100
SYN, RST, ACK = 0x02, 0x04, 0x10
EXPEDITED = 0xB8
IP_RECVTTL, IPV6_RECVHOPLIMIT, UDP_SEGMENT = 12, 51, 103
FAMILIES = [pytest.param(4, id="v4"), pytest.param(6, id="v6")]
PROTOCOLS = [pytest.param(UDP, id="UDP"), pytest.param(UNKNOWN, id="unknown protocol")]

ENDS = tuple(
    spec(name, f"of-{name}", addresses=[f"10.9.0.{number}", f"fd00:9::{number}"], host=host)
    for number, (name, host) in enumerate(((ONE, HERE), (TWO, THERE)), start=1)
)


def profile_of(name: str, *peers: str, ports: tuple[int, ...] = ()) -> Profile:
    """Everything out, and from these tasks in: on some ports of UDP, or whatever it is."""
    ranges = tuple(PortRange(port, port) for port in ports)
    protocol = UDP if ports else None
    inbound = tuple(
        Rule(Action.ALLOW, Match(protocol=protocol, src_tag=Tag(peer), dst_ports=ranges))
        for peer in peers
    )
    return Profile(ProfileId(f"of-{name}"), (Tag(name),), inbound, (Rule(Action.ALLOW),))


def closed_to_each_other(namespace: Make) -> TwoHosts:
    return make_two_hosts(namespace, ENDS, [profile_of(ONE), profile_of(TWO)])


def one_may_begin(namespace: Make, ruled: tuple[HostName, ...] = (HERE, THERE)) -> TwoHosts:
    return make_two_hosts(namespace, ENDS, [profile_of(ONE), profile_of(TWO, ONE)], ruled)


def both_may_begin(namespace: Make, *ports: int) -> TwoHosts:
    profiles = [profile_of(ONE, TWO, ports=ports), profile_of(TWO, ONE, ports=ports)]
    return make_two_hosts(namespace, ENDS, profiles)


@dataclass(frozen=True, slots=True)
class End:
    """A task's socket for datagrams, or for packets of a protocol without ports."""

    sock: socket.socket
    address: IPAddress
    protocol: int
    port: int

    def send(self, to: "End", *data: bytes) -> None:
        for each in data:
            self.sock.sendto(each, (str(to.address), to.port))

    def received(self, count: int = 1) -> list[bytes]:
        """What has arrived and soon will, at least so much unless it does not come."""
        found: list[bytes] = []
        deadline = time.monotonic() + WAIT
        while len(found) < count and time.monotonic() < deadline:
            if select.select([self.sock], [], [], WAIT)[0]:
                data = self.sock.recv(1 << 16)
                # A raw socket of IPv4 gives the header as well.
                is_raw = self.protocol != UDP and self.address.version == 4
                found.append(data[20:] if is_raw else data)
        return found

    @property
    def hop_limit(self) -> tuple[int, int]:
        """The socket option that says how far its packets may go."""
        if self.address.version == 4:
            return socket.IPPROTO_IP, socket.IP_TTL
        return socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS


def end(hosts: TwoHosts, name: str, version: int, protocol: int = UDP, port: int = PORT) -> End:
    (address,) = (
        each
        for task in ENDS
        for each in task.addresses
        if task.id.workload == name and each.version == version
    )
    if protocol == UDP:
        sock = hosts[name].socket(family_of(address), socket.SOCK_DGRAM)
        sock.bind((str(address), port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return End(sock, address, protocol, port)
    raw = hosts[name].socket(family_of(address), socket.SOCK_RAW, protocol)
    return End(raw, address, protocol, 0)


def both_ends(hosts: TwoHosts, version: int, protocol: int = UDP) -> tuple[End, End]:
    one, two = (end(hosts, name, version, protocol) for name in (ONE, TWO))
    return one, two


def both_begin(hosts: TwoHosts, one: End, two: End) -> None:
    """At either host the task there is the one that began."""
    with hosts.parted():
        one.send(two, b"lost")
        two.send(one, b"lost")
    assert (one.received(), two.received()) == ([], [])


def numbered(count: int = MANY) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def without_signatures(hosts: TwoHosts) -> None:
    """Open what these tests rest on, to see that they can fail."""
    for host in hosts.hosts.values():
        with host.entered():
            table = NftTable()
            table.open()
            table.commit(commit([Chain(HALFWAY, ())]))
            table.close()


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tasks_that_are_closed_to_each_other_meet_nowhere(
    namespace: Make, version: int, protocol: int
) -> None:
    hosts = closed_to_each_other(namespace)
    one, two = both_ends(hosts, version, protocol)
    # What a task writes into a packet itself neither signs it nor hides that it begins.
    for limit in (64, LEAST_SIGNED - 1, LEAST_SIGNED, SIGNED):
        for sender, receiver in ((one, two), (two, one)) * 2:
            sender.sock.setsockopt(*sender.hop_limit, limit)
            sender.send(receiver, b"psst")
    assert (one.received(), two.received()) == ([], [])
    without_signatures(hosts)
    for sender, receiver in ((one, two), (two, one)):
        sender.send(receiver, b"psst")
        assert receiver.received() == [b"psst"]


def segments(source: IPAddress, target: IPAddress) -> Iterator[bytes]:
    """What two ends of TCP send that mean to meet, whatever comes back."""
    for flags, sequence, acknowledged, data in (
        (SYN, 1, 0, b""),
        (SYN | ACK, 1, 2, b"psst"),
        (ACK, 2, 2, b"psst"),
        (RST | ACK, 6, 6, b"psst"),
        (ACK, 6, 6, b"psst"),
    ):
        segment = tcp_payload(
            source,
            target,
            PORT,
            PORT,
            flags,
            sequence=sequence,
            acknowledged=acknowledged,
            data=data,
        )
        yield ipv4_packet(source, target, socket.IPPROTO_TCP, segment)


@pytest.mark.parametrize("closed", [True, pytest.param(False, id="or they would")])
def test_segments_made_by_hand_meet_nowhere(namespace: Make, closed: bool) -> None:
    hosts = closed_to_each_other(namespace)
    if not closed:
        without_signatures(hosts)
    one, two = both_ends(hosts, 4, socket.IPPROTO_TCP)
    for begun, met in zip(
        segments(one.address, two.address), segments(two.address, one.address), strict=True
    ):
        # The first of each may have been too late for the other.
        for _ in range(2):
            send_raw(hosts[ONE], two.address, begun)
            send_raw(hosts[TWO], one.address, met)
    assert bool(one.received()) is not closed
    assert bool(two.received()) is not closed


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tasks_that_both_begin_and_may_lose_nothing(
    namespace: Make, version: int, protocol: int
) -> None:
    hosts = both_may_begin(namespace, *([PORT] if protocol == UDP else []))
    one, two = both_ends(hosts, version, protocol)
    both_begin(hosts, one, two)
    for each in numbered():
        one.send(two, each)
        two.send(one, each)
    assert one.received(MANY) == numbered()
    assert two.received(MANY) == numbered()


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_may_not_begin_may_answer_although_it_was_first(
    namespace: Make, version: int, protocol: int
) -> None:
    hosts = one_may_begin(namespace)
    one, two = both_ends(hosts, version, protocol)
    both_begin(hosts, one, two)
    two.send(one, b"unasked")
    assert one.received() == []
    one.send(two, b"question")
    assert two.received() == [b"question"]
    two.send(one, *numbered())
    one.send(two, *numbered())
    assert one.received(MANY) == numbered()
    assert two.received(MANY) == numbered()


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("limit", [64, 128, SIGNED])
def test_an_answer_is_no_beginning_whatever_the_task_writes_into_it(
    namespace: Make, version: int, limit: int
) -> None:
    hosts = one_may_begin(namespace)
    one, two = end(hosts, ONE, version, port=ASKING), end(hosts, TWO, version)
    two.sock.setsockopt(*two.hop_limit, limit)
    one.send(two, b"question")
    assert two.received() == [b"question"]
    two.send(one, *numbered())
    assert one.received(MANY) == numbered()


def arrival(sock: socket.socket) -> tuple[int, int]:
    """Hop limit and type of service of a packet as the task sees them."""
    v4 = sock.family == socket.AF_INET
    sock.settimeout(WAIT)
    _, given, _, _ = sock.recvmsg(100, 100)
    limit, service = (
        (socket.IP_TTL, socket.IP_TOS) if v4 else (socket.IPV6_HOPLIMIT, socket.IPV6_TCLASS)
    )
    found = {kind: data[0] for _, kind, data in given}
    return found[limit], found[service]


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("service", [0, EXPEDITED])
def test_a_signature_changes_nothing_but_the_hop_limit(
    namespace: Make, version: int, service: int
) -> None:
    hosts = one_may_begin(namespace)
    one, two = both_ends(hosts, version)
    for each in (one, two):
        if version == 4:
            each.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, service)
            each.sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            each.sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        else:
            each.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, service)
            each.sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
            each.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    one.send(two, b"question")
    two.send(one, b"answer")
    assert arrival(two.sock) == (SIGNED - 1, service)
    # Two routers less than what it was sent with.
    assert arrival(one.sock) == (USUAL - 2, service)


@pytest.mark.parametrize("first", [pytest.param(True, id="both began"), False])
def test_a_task_is_told_that_nobody_listens_at_another_host(namespace: Make, first: bool) -> None:
    hosts = both_may_begin(namespace, PORT)
    one, two = both_ends(hosts, 4)
    if first:
        both_begin(hosts, one, two)
    one.send(two, b"there")
    assert two.received() == [b"there"]
    two.sock.close()
    one.sock.connect((str(two.address), PORT))
    one.sock.settimeout(WAIT)
    one.sock.send(b"again")
    with pytest.raises(OSError, match="refused") as told:
        one.sock.recv(100)
    assert told.value.errno == errno.ECONNREFUSED


def test_an_error_about_what_never_arrived_does_not_arrive(namespace: Make) -> None:
    hosts = closed_to_each_other(namespace)
    one, two = both_ends(hosts, 4)
    both_begin(hosts, one, two)
    asked = ipv4_packet(one.address, two.address, UDP, udp_payload(PORT, PORT, b"psst"))
    error = ipv4_packet(two.address, one.address, socket.IPPROTO_ICMP, error_about(asked))
    with icmp_of(hosts[ONE]) as seen:
        send_raw(hosts[TWO], one.address, error)
        with pytest.raises(TimeoutError):
            seen.recv(2000)
        without_signatures(hosts)
        send_raw(hosts[TWO], one.address, error)
        assert seen.recvfrom(2000)[1][0] == str(two.address)


@pytest.mark.parametrize("version", FAMILIES)
def test_large_datagrams_and_batches_pass_both_ways(namespace: Make, version: int) -> None:
    hosts = both_may_begin(namespace, PORT)
    one, two = both_ends(hosts, version)
    both_begin(hosts, one, two)
    large = [bytes([number]) * 5000 for number in range(5)]
    for sender, receiver in ((one, two), (two, one)):
        sender.send(receiver, *large)
        assert receiver.received(len(large)) == large
        sender.sock.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
        sender.send(receiver, large[1])
        assert receiver.received(5) == [large[1][:1000]] * 5


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("ruled", [HERE, THERE])
def test_beside_a_host_that_signs_nothing_answers_pass(
    namespace: Make, version: int, ruled: HostName
) -> None:
    hosts = one_may_begin(namespace, ruled=(ruled,))
    one, two = both_ends(hosts, version)
    one.send(two, b"question")
    assert two.received() == [b"question"]
    two.send(one, *numbered())
    one.send(two, *numbered())
    assert one.received(MANY) == numbered()
    assert two.received(MANY) == numbered()
