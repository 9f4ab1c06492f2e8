"""Traps of the dataplane, of reports and of following etcd; see `traps`."""

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from netaddr import IPAddress

from calico.dataplane.changes import CommitTable
from calico.dataplane.netlink.wire import Request, split_replies
from calico.dataplane.nft.library_json import encode_commit
from calico.dataplane.render.host import render_host
from calico.dataplane.state import NftSet
from calico.datastore.api import Key, Listing, Revision, Watch
from calico.datastore.memory import HISTORY, MemoryDatastore
from calico.keys import CALICO, FELIX, LEADER, applied_key, felix_status_key, status_key
from calico.model import AppliedRecord, BootId, HostName, HostRecord, TaskId
from calico.names import endpoint_of_task
from reconciler.agent.belief import PREFIXES, Belief, Source
from reconciler.agent.preflight import SOCKET, NotFit, only_agent
from reconciler.agent.reporting.reporter import Report, Reporter
from reconciler.agent.settings import parse_host_ports
from reconciler.cli.commands.agent import agent
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.watchfeed import FeedMessage, Loaded, WatchFeed
from tests.dataplane_worlds import CONFIG, group, snapshot, spec
from tests.unit.agent.world import filled_store, loaded

HOST = HostName("h1")


def test_dns_on_the_host_is_open_by_name_of_its_port() -> None:
    [option] = [each for each in agent.params if each.name == "host_ports"]
    ports = parse_host_ports(str(option.default))
    assert any(each.first <= 53 <= each.last for each in ports)
    rules = render_host(snapshot([]), replace(CONFIG, host_ports=ports)).state.chains["to-host"]
    assert any("53" in rule.expression and "accept" in rule.expression for rule in rules.rules)


def test_a_second_agent_refuses_to_start() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
        # If an agent runs here, it has the name already.
        with suppress(OSError):
            first.bind(SOCKET)
        with pytest.raises(NotFit, match="undo each other"), only_agent():
            pass


@pytest.mark.parametrize("mtu", [1400, 1500, 9000])
def test_a_task_s_mtu_is_that_of_its_host_s_path(mtu: int) -> None:
    task = spec("t", "red", addresses=["10.9.0.1"])
    state = render_host(snapshot([task], [group("red")]), replace(CONFIG, mtu=mtu)).state
    wiring = state.links[task.interface].wiring
    assert wiring is not None
    assert wiring.mtu == mtu


def test_a_set_has_no_limit_of_its_own() -> None:
    members = frozenset(str(IPAddress(0x0A000000 + number)) for number in range(2000))
    text = encode_commit(CommitTable(sets=(NftSet("tag4-x", ("ipv4_addr",), members),)))
    assert '"size"' not in text
    assert all(f'"{each}"' in text for each in members)


def test_every_message_that_came_in_one_datagram_is_read() -> None:
    bodies = [struct.pack("=I", number) for number in range(20)]
    data = b"".join(Request("new link", 16, 0, body).packed(1) for body in bodies)
    assert [reply.body for reply in split_replies(data)] == bodies


def test_a_hundred_statuses_are_told_at_once() -> None:
    clock = ManualClock()
    store = MemoryDatastore(clock.monotonic)
    reporter = Reporter(HOST, store, clock, jitter=lambda: 1.0)
    record = HostRecord(HOST, IPAddress("10.0.0.1"), BootId("b"), "m", "1")
    endpoints = [endpoint_of_task(HOST, TaskId(f"web.{number}")) for number in range(100)]
    statuses = {status_key(each): '{"status": "up"}' for each in endpoints}
    reporter.post(Report(record, AppliedRecord(HOST, BootId("b"), 1), statuses))
    reporter.step()
    found = store.list(Key(f"{FELIX}/{HOST}/workload")).entries
    assert {each.key: each.value for each in found} == statuses


class BusyStore(MemoryDatastore):
    """A store to which others write more than it remembers, whenever it was listed."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = True

    def list(self, prefix: Key) -> Listing:
        listing = super().list(prefix)
        if self.busy:
            self.busy = False
            self.put(Key("/calico/v1/config/Missed"), "1")
            for number in range(HISTORY):
                self.put(Key("/lock/of/others"), str(number))
        return listing

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        return super().watch(prefix, after, min(timeout, 1.0))


def test_what_was_missed_while_others_wrote_is_listed_anew() -> None:
    store, stop, heard = BusyStore(), threading.Event(), list[FeedMessage]()

    def hear(message: FeedMessage) -> None:
        heard.append(message)
        if len(heard) == 2:
            stop.set()

    WatchFeed(CALICO, lambda: store, hear, stop).run()
    [first, second] = heard
    assert isinstance(first, Loaded)
    assert isinstance(second, Loaded)
    assert first.listing.entries == ()
    assert [each.key for each in second.listing.entries] == ["/calico/v1/config/Missed"]
    # What agents write all the time is not what agents watch.
    for key in (felix_status_key(HOST), applied_key(HOST), LEADER):
        assert not any(key.startswith(f"{prefix}/") for prefix in PREFIXES)


def test_a_restored_etcd_is_not_believed() -> None:
    store, belief = filled_store(), Belief(HOST)
    for message in loaded(store):
        belief.handle(message)
    before = belief.judge()
    assert before.source is Source.DATASTORE
    for message in loaded(store):
        older = Listing(Revision(message.listing.revision - 1), ())
        belief.handle(Loaded(message.prefix, older))
    after = belief.judge()
    assert "went back" in after.doubt
    assert after.snapshot is before.snapshot
