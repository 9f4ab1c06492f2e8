"""The names of tasks on their hosts' network, asked for over real sockets."""

from collections.abc import Iterator
from contextlib import contextmanager

import dnslib
import pytest

from demo.names.records import Records, records_of
from demo.names.server import NameServer, Resolver
from demo.stories.rest import RunningTask

ADDRESSES = {"host-1": "172.31.80.11", "host-2": "172.31.80.12"}
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def task(
    app: str, host: str = "host-1", *, ports: tuple[int, ...] = (9000,), running: bool = True
) -> RunningTask:
    return RunningTask(f"{app.strip('/')}.1", app, host, "2016-01-01", running, ports)


def test_a_task_on_its_host_has_mesos_dns_names() -> None:
    records = records_of([task("/star-before/probe-a"), task("/star-before/probe-a", "host-2")])

    assert records == Records(
        {
            "probe-a.star-before.marathon.mesos": ["host-1", "host-2"],
            "probe-a-star-before.marathon.mesos": ["host-1", "host-2"],
        },
        {
            "_probe-a-star-before._tcp.marathon.mesos": [
                ("probe-a-star-before.marathon.mesos", 9000)
            ]
            * 2
        },
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(task("/star/probe-a", ports=()), id="has an address of its own"),
        pytest.param(task("/star/probe-a", running=False), id="does not run yet"),
    ],
)
def test_other_tasks_have_none(other: RunningTask) -> None:
    assert records_of([other]) == Records()


@contextmanager
def serving(records: Records | None) -> Iterator[NameServer]:
    resolver = Resolver(lambda: records, ADDRESSES.get)
    with NameServer(resolver, ("127.0.0.1", 0)) as server:
        yield server


def ask(server: NameServer, name: str, kind: str = "A", *, tcp: bool = False) -> dnslib.DNSRecord:
    question = dnslib.DNSRecord.question(name, kind)
    return dnslib.DNSRecord.parse(question.send("127.0.0.1", server.port, tcp=tcp, timeout=5))


@pytest.mark.parametrize("tcp", [pytest.param(False, id="udp"), pytest.param(True, id="tcp")])
def test_names_and_services_are_answered_and_no_others(tcp: bool) -> None:
    with serving(records_of([task("/star-before/probe-a", "host-2")])) as server:
        named = ask(server, "Probe-A.star-before.marathon.mesos", tcp=tcp)
        service = ask(server, "_probe-a-star-before._tcp.marathon.mesos", "SRV", tcp=tcp)
        nobody = ask(server, "probe-c.star-before.marathon.mesos", tcp=tcp)
        other = ask(server, "probe-a.star-before.marathon.mesos", "AAAA", tcp=tcp)

    assert [str(each.rdata) for each in named.rr] == ["172.31.80.12"]
    assert [str(each.rdata) for each in service.rr] == [
        "0 0 9000 probe-a-star-before.marathon.mesos."
    ]
    assert nobody.header.rcode == NXDOMAIN
    assert (other.header.rcode, other.rr) == (NOERROR, [])
    # Who denies says for how long that may be remembered.
    for denied in (nobody, other):
        assert [(str(each.rname), each.ttl) for each in denied.auth] == [("mesos.", 1)]
    assert named.auth == service.auth == []


def test_without_marathon_no_name_is_denied() -> None:
    with serving(None) as server:
        assert ask(server, "probe-a.star.marathon.mesos").header.rcode == SERVFAIL
