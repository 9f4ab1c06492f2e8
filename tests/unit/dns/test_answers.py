"""What each question is answered with."""

import random
from collections.abc import Sequence
from dataclasses import replace

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico.model import PortOpening, TaskId
from reconciler.dns import wire
from reconciler.dns.answers import MOST_HELPED, MOST_KEPT, Answers, Elsewhere
from reconciler.dns.metrics import DnsMetrics
from reconciler.dns.names import Address, NamedTask
from reconciler.dns.serving.access import Access
from reconciler.dns.serving.query_handler import QueryHandler
from reconciler.dns.zone import Zone

PEER = "127.0.0.1"
POOLS = (IPNetwork("192.168.0.0/16"), IPNetwork("fd80:24e2::/48"))
WEB = "web.shop.marathon.mesos"
HTTP = PortOpening("tcp", 80, "http")
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)


def task(number: int, app: str = "/shop/web", ports: Sequence[PortOpening] = (HTTP,)) -> NamedTask:
    return NamedTask(
        TaskId(f"shop_web.{number}"),
        app,
        (IPAddress(0xC0A80001 + number),),
        tuple(ports),
        (IPAddress("10.0.0.1"),),
    )


class Server:
    """Everything but the sockets."""

    def __init__(
        self,
        *tasks: NamedTask,
        complete: bool = True,
        recursive: bool = False,
        forwarding: bool = False,
        seed: int = 1,
    ) -> None:
        self.zone = Zone("mesos", "marathon", [Address(IPAddress("10.0.0.53"))])
        for each in tasks:
            self.zone.publish(each)
        self.answers = Answers(self.zone, 7, random.Random(seed))
        self.handler = QueryHandler(self.answers, Access(None), DnsMetrics())
        self._told = {
            "complete": complete,
            "recursive": recursive,
            "forwarding": forwarding,
        }
        self.update()

    def update(self) -> None:
        """Have what changed count."""
        self.answers.update(POOLS, **self._told)

    def message(self, question: dnslib.DNSRecord, *, stream: bool = False) -> dnslib.DNSRecord:
        """The answer to a message, which must be one."""
        answer = self.handler.ask(bytes(question.pack()), PEER, stream=stream)
        assert isinstance(answer, bytes)
        parsed = dnslib.DNSRecord.parse(answer)
        assert parsed.header.id == question.header.id
        assert parsed.header.qr == 1
        return parsed

    def ask(
        self, name: str, kind: str = "A", *, stream: bool = False, edns: int = 0
    ) -> dnslib.DNSRecord:
        """The answer to one question."""
        question = dnslib.DNSRecord.question(name, kind)
        if edns:
            question.add_ar(dnslib.EDNS0(udp_len=edns))
        return self.message(question, stream=stream)

    def texts(self, name: str, kind: str = "A") -> list[str]:
        """What the records of the answer say."""
        return [str(each.rdata) for each in self.ask(name, kind).rr]


def test_a_name_has_the_addresses_of_its_tasks_for_five_seconds() -> None:
    answer = Server(task(0), task(1)).ask(WEB)
    assert (answer.header.rcode, answer.header.aa, answer.header.tc) == (NOERROR, 1, 0)
    assert {str(each.rdata) for each in answer.rr} == {"192.168.0.1", "192.168.0.2"}
    assert {(str(each.rname), each.ttl) for each in answer.rr} == {(f"{WEB}.", 5)}


def test_two_tasks_with_one_address_are_one_record() -> None:
    one, other = task(0), replace(task(1), addresses=task(0).addresses)
    server = Server(one, other)
    assert server.texts(WEB) == ["192.168.0.1"]
    server.zone.withdraw(one.task)
    server.update()
    assert server.texts(WEB) == ["192.168.0.1"]


def test_answers_follow_the_zone() -> None:
    server = Server(task(0))
    assert server.texts(WEB) == ["192.168.0.1"]
    server.zone.publish(task(1))
    server.update()
    assert set(server.texts(WEB)) == {"192.168.0.1", "192.168.0.2"}
    server.zone.withdraw(task(0).task)
    server.update()
    assert server.texts(WEB) == ["192.168.0.2"]
    server.zone.withdraw(task(1).task)
    server.update()
    assert server.ask(WEB).header.rcode == NXDOMAIN


def test_a_record_that_there_was_none_of_is_found_once_there_is_one() -> None:
    server = Server(task(0))
    assert server.texts(WEB, "AAAA") == []
    server.zone.publish(replace(task(1), addresses=(IPAddress("fd80::1"),)))
    server.update()
    assert server.texts(WEB, "AAAA") == ["fd80::1"]


def test_the_question_comes_back_as_it_was_written() -> None:
    answer = Server(task(0)).ask("WeB.ShOp.MARATHON.mesos")
    assert str(answer.q.qname) == "WeB.ShOp.MARATHON.mesos."
    assert [str(each.rdata) for each in answer.rr] == ["192.168.0.1"]


def test_a_service_tells_port_and_target_and_brings_its_addresses() -> None:
    answer = Server(task(0)).ask("_http._tcp.web.shop.marathon.mesos", "SRV")
    (record,) = answer.rr
    assert (record.rdata.priority, record.rdata.weight, record.rdata.port) == (0, 0, 80)
    assert [(each.rname, str(each.rdata)) for each in answer.ar] == [
        (record.rdata.target, "192.168.0.1")
    ]


def test_many_services_do_not_bring_their_addresses() -> None:
    server = Server(*map(task, range(MOST_HELPED + 1)))
    answer = server.ask("_http._tcp.web.shop.marathon.mesos", "SRV", stream=True)
    assert len(answer.rr) == MOST_HELPED + 1
    assert not answer.ar


def test_an_address_has_the_name_of_its_task() -> None:
    server = Server(task(0))
    (target,) = server.texts("1.0.168.192.in-addr.arpa", "PTR")
    assert server.texts(target) == ["192.168.0.1"]


@pytest.mark.parametrize(
    ("name", "kind", "code", "apex"),
    [
        pytest.param("db.shop.marathon.mesos", "A", NXDOMAIN, "mesos.", id="no such app"),
        pytest.param("a.b." + WEB, "A", NXDOMAIN, "mesos.", id="below a name"),
        pytest.param(WEB, "AAAA", NOERROR, "mesos.", id="no such record"),
        pytest.param(WEB, "HTTPS", NOERROR, "mesos.", id="a kind that nothing has"),
        pytest.param("shop.marathon.mesos", "A", NOERROR, "mesos.", id="a group of apps"),
        pytest.param("_tcp." + WEB, "SRV", NOERROR, "mesos.", id="between service and app"),
        pytest.param("mesos", "A", NOERROR, "mesos.", id="the domain itself"),
        pytest.param(
            "9.0.168.192.in-addr.arpa", "PTR", NXDOMAIN, "168.192.in-addr.arpa.", id="free address"
        ),
        pytest.param(
            "7.168.192.in-addr.arpa", "NS", NOERROR, "168.192.in-addr.arpa.", id="above addresses"
        ),
        pytest.param(
            "x.1.0.168.192.in-addr.arpa", "PTR", NXDOMAIN, "168.192.in-addr.arpa.", id="no address"
        ),
    ],
)
def test_nothing_is_said_with_the_authority_of_the_zone(
    name: str, kind: str, code: int, apex: str
) -> None:
    answer = Server(task(0)).ask(name, kind)
    assert (answer.header.rcode, answer.header.aa, answer.rr) == (code, 1, [])
    (authority,) = answer.auth
    assert (str(authority.rname), authority.rtype, authority.ttl) == (apex, dnslib.QTYPE.SOA, 5)
    assert authority.rdata.times[-1] == 5


@pytest.mark.parametrize(
    ("name", "recursion", "zone"),
    [
        pytest.param("nobody.marathon.mesos", 0, "mesos.", id="who asks for no more than we know"),
        pytest.param(
            "9.0.168.192.in-addr.arpa", 1, "168.192.in-addr.arpa.", id="an address of a pool"
        ),
    ],
)
def test_what_is_denied_while_others_may_have_names_says_for_how_long(
    name: str, recursion: int, zone: str
) -> None:
    question = dnslib.DNSRecord.question(name)
    question.header.rd = recursion
    answer = Server(task(0), forwarding=True, recursive=True).message(question)
    assert (answer.header.rcode, answer.header.aa) == (NXDOMAIN, 1)
    assert [(str(each.rname), each.rtype) for each in answer.auth] == [(zone, dnslib.QTYPE.SOA)]


def test_nothing_is_said_also_where_names_are_long() -> None:
    domain = f"{'a' * 49}.{'b' * 50}"
    zone = Zone(domain, "marathon")
    zone.publish(task(0, f"/{'x' * 63}/{'y' * 63}"))
    answers = Answers(zone, 7, random.Random(1))
    answers.update(POOLS, complete=True, recursive=False)
    handler = QueryHandler(answers, Access(None), DnsMetrics())
    name = f"{'y' * 63}.{'x' * 63}.marathon.{domain}"

    answer = handler.ask(bytes(dnslib.DNSRecord.question(name, "MX").pack()), PEER, stream=False)

    assert isinstance(answer, bytes)
    parsed = dnslib.DNSRecord.parse(answer)
    assert (parsed.header.rcode, parsed.rr, len(parsed.auth)) == (NOERROR, [], 1)


def test_the_domain_has_a_start_and_a_server() -> None:
    server = Server()
    assert server.texts("mesos", "NS") == ["ns1.mesos."]
    assert server.texts("ns1.mesos") == ["10.0.0.53"]
    assert server.texts("mesos", "SOA") == ["ns1.mesos. root.ns1.mesos. 7 60 60 86400 5"]


def test_any_is_answered_with_one_kind() -> None:
    answer = Server(
        replace(task(0), addresses=(IPAddress("192.168.0.1"), IPAddress("fd80::1")))
    ).ask(WEB, "ANY")
    assert [each.rtype for each in answer.rr] == [dnslib.QTYPE.A]


def asked(kind: int = 1, category: int = 1, opcode: int = 0, name: str = WEB) -> dnslib.DNSRecord:
    question = dnslib.DNSRecord(q=dnslib.DNSQuestion(name, kind, category))
    question.header.opcode = opcode
    return question


@pytest.mark.parametrize(
    ("question", "code"),
    [
        pytest.param(asked(252), REFUSED, id="the whole zone"),
        pytest.param(asked(251), REFUSED, id="the zone since then"),
        pytest.param(asked(252, name="example.org"), REFUSED, id="another's zone"),
        pytest.param(asked(253), NOTIMP, id="mailboxes"),
        pytest.param(asked(249), NOTIMP, id="keys"),
        pytest.param(asked(16, 3, name="version.bind"), REFUSED, id="another class"),
        pytest.param(asked(opcode=5), NOTIMP, id="an update"),
        pytest.param(asked(opcode=4), NOTIMP, id="a notice"),
        pytest.param(asked(name="example.org"), REFUSED, id="not ours, and nobody to ask"),
        pytest.param(asked(name="xmesos"), REFUSED, id="only like ours"),
        pytest.param(asked(name="\x05mesos"), REFUSED, id="a label that holds ours"),
    ],
)
def test_what_is_not_served_is_refused(question: dnslib.DNSRecord, code: int) -> None:
    server = Server(task(0))
    server.ask(WEB)
    answer = server.message(question)
    assert (answer.header.rcode, answer.header.aa, answer.rr, answer.auth) == (code, 0, [], [])


def test_others_are_asked_about_other_names_if_the_asker_wants_that() -> None:
    server = Server(recursive=True)
    question = dnslib.DNSRecord.question("example.org")
    found = server.handler.ask(bytes(question.pack()), PEER, stream=False)
    assert isinstance(found, wire.Query)
    assert isinstance(server.answers.answer(found, 512), Elsewhere)
    question.header.rd = 0
    assert server.message(question).header.rcode == REFUSED
    assert server.ask(WEB).header.ra == 1


def test_others_are_asked_about_addresses_outside_the_pools() -> None:
    server = Server(recursive=True)
    for name in ("8.8.8.8.in-addr.arpa", "192.in-addr.arpa", "x.ip6.arpa"):
        question = bytes(dnslib.DNSRecord.question(name, "PTR").pack())
        assert isinstance(server.handler.ask(question, PEER, stream=False), wire.Query)


@pytest.mark.parametrize(
    "name", [WEB, "mesos", "1.0.168.192.in-addr.arpa", "1.0.0.10.in-addr.arpa"]
)
def test_before_all_names_are_known_nothing_is_denied(name: str) -> None:
    server = Server(complete=False, recursive=True)
    assert server.ask(name).header.rcode == SERVFAIL


@pytest.mark.parametrize(
    ("edns", "limit"),
    [
        pytest.param(0, 512, id="without EDNS"),
        pytest.param(100, 512, id="less than everyone can"),
        pytest.param(800, 800, id="as much as the asker can"),
        pytest.param(4096, 1232, id="as much as networks can"),
    ],
)
def test_an_answer_too_large_for_a_datagram_is_cut_and_says_so(edns: int, limit: int) -> None:
    server = Server(*map(task, range(200)))
    answer = server.ask(WEB, edns=edns)
    assert answer.header.tc == 1
    assert limit - 32 < len(answer.pack()) <= limit
    assert len(set(map(str, (each.rdata for each in answer.rr)))) == len(answer.rr) > 20
    whole = server.ask(WEB, stream=True)
    assert (whole.header.tc, len(whole.rr)) == (0, 200)


def test_only_what_is_sent_along_may_be_left_out_without_a_word() -> None:
    server = Server(*map(task, range(7)))
    answer = server.ask("_http._tcp.web.shop.marathon.mesos", "SRV")
    assert (answer.header.tc, len(answer.rr), answer.ar) == (0, 7, [])


def test_a_stream_carries_as_many_as_fit_and_every_task_has_its_chance() -> None:
    server = Server(*(replace(task(each), ports=()) for each in range(MOST_KEPT + 4000)))
    seen: set[str] = set()
    for _ in range(12):
        question = bytes(dnslib.DNSRecord.question(WEB).pack())
        answer = server.handler.ask(question, PEER, stream=True)
        assert isinstance(answer, bytes)
        assert 65000 < len(answer) <= 65535
        parsed = dnslib.DNSRecord.parse(answer)
        assert parsed.header.tc == 0
        seen |= {str(each.rdata) for each in parsed.rr}
    assert len(seen) == MOST_KEPT + 4000
    short = server.ask(WEB)
    assert (short.header.tc, len(short.rr)) == (1, 29)


def test_answers_are_shuffled() -> None:
    server = Server(*map(task, range(4)))
    firsts = {server.texts(WEB)[0] for _ in range(200)}
    assert len(firsts) == 4


def test_edns_is_answered_with_edns() -> None:
    server = Server(task(0))
    (extension,) = server.ask(WEB, edns=4096).ar
    assert (extension.rtype, extension.rclass) == (dnslib.QTYPE.OPT, 1232)
    assert server.ask(WEB).ar == []


def test_another_version_of_edns_is_told_ours() -> None:
    question = dnslib.DNSRecord.question(WEB)
    question.add_ar(dnslib.EDNS0(version=1))
    answer = Server(task(0)).message(question)
    (extension,) = answer.ar
    code = (extension.ttl >> 24) << 4 | answer.header.rcode
    assert (code, extension.ttl >> 16 & 0xFF, answer.rr) == (16, 0, [])


def test_who_may_not_ask_is_refused_with_no_more_than_was_sent() -> None:
    server, question = Server(task(0)), bytes(dnslib.DNSRecord.question(WEB).pack())
    answer = server.handler.ask(question, "203.0.113.9", stream=False)
    assert isinstance(answer, bytes)
    assert dnslib.DNSRecord.parse(answer).header.rcode == REFUSED
    assert len(answer) <= len(question)
    assert server.handler.ask(question[:14], "203.0.113.9", stream=False) is None


VALID = bytes(dnslib.DNSRecord.question(WEB).pack())


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(VALID[:11], id="less than a header"),
        pytest.param(VALID[:2] + b"\x81" + VALID[3:], id="an answer"),
    ],
)
def test_there_is_no_answer_to_what_is_no_question(message: bytes) -> None:
    assert Server(task(0)).handler.ask(message, PEER, stream=False) is None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(VALID[:20], id="cut off in its name"),
        pytest.param(VALID[:-2], id="cut off in its type"),
        pytest.param(VALID[:4] + b"\0\2" + VALID[6:], id="two questions"),
        pytest.param(VALID[:4] + b"\0\0" + VALID[6:], id="no question"),
        pytest.param(VALID[:12] + b"\xc0\x0c\0\1\0\1", id="a name that points to itself"),
        pytest.param(VALID[:10] + b"\0\1" + VALID[12:], id="a record that is not there"),
        pytest.param(VALID[:12] + b"\x3fx" * 5 + b"\0\0\1\0\1", id="a label that is not there"),
        pytest.param(VALID[:12] + (b"\1a" * 130) + b"\0\0\1\0\1", id="a name too long"),
    ],
)
def test_what_cannot_be_read_is_told_so(message: bytes) -> None:
    answer = Server(task(0)).handler.ask(message, PEER, stream=False)
    assert isinstance(answer, bytes)
    assert answer[:2] == message[:2]
    assert answer[3] & 0xF == FORMERR


def test_an_edns_record_with_a_name_is_none() -> None:
    message = VALID[:10] + b"\0\1" + VALID[12:] + b"\1x\0\0\x29\4\0\0\0\0\0\0\0"
    answer = Server(task(0)).handler.ask(message, PEER, stream=False)
    assert isinstance(answer, bytes)
    assert answer[3] & 0xF == FORMERR


@given(st.binary(max_size=80), st.integers(0, len(VALID)), st.booleans())
def test_nothing_that_is_sent_ends_the_server(tail: bytes, kept: int, stream: bool) -> None:
    server = Server(task(0), recursive=True)
    message = VALID[:kept] + tail
    answer = server.handler.ask(message, PEER, stream=stream)
    if isinstance(answer, bytes):
        assert answer[:2] == message[:2]
        assert answer[2] & 0x80
        assert stream or len(answer) <= 1232
        dnslib.DNSRecord.parse(answer)


@given(st.binary(max_size=60))
def test_records_beside_the_question_are_passed_over(rest: bytes) -> None:
    signature = dnslib.DNSRecord.question(WEB)
    signature.add_ar(dnslib.RR("key", 250, 255, rdata=dnslib.RD(rest)))
    signature.add_ar(dnslib.EDNS0(udp_len=1000))
    answer = Server(task(0)).message(signature)
    assert [str(each.rdata) for each in answer.rr] == ["192.168.0.1"]
    assert len(answer.ar) == 1
