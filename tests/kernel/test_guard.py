"""What keeps the host's own ports closed while another program has our table away."""

import json
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.dataplane.changes import CommitTable
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.nft.guard import GUARD, Guard
from calico.dataplane.render.host import render_host
from calico.dataplane.state import ROUTE_TABLE, TABLE
from reconciler.core.reaching.reach import Packet
from tests.dataplane_worlds import HERE_ADDRESS, POOL, commit, commit_of
from tests.kernel.namespaces import Namespace
from tests.kernel.packets import bytes_of
from tests.kernel.probes import WAIT, connects, family_of, listening
from tests.kernel.tables import SPECS, TABLE_CONFIG, WORLD, Here, World, make_world
from tests.kernel.test_closed_table import send_as
from tests.kernel.test_links import run

HERE_ADDRESS6 = IPAddress("fd00:77::1")


@pytest.fixture
def world(namespace: Callable[[], Namespace]) -> World:
    return make_world(namespace)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("flush", "ruleset"), id="all tables flushed"),
        pytest.param(("delete", "table", "inet", TABLE), id="our table deleted"),
        pytest.param(("flush", "table", "inet", TABLE), id="our table flushed"),
    ],
)
@pytest.mark.parametrize("guarded", [pytest.param(True, id="guard"), pytest.param(False, id="-")])
def test_without_our_table_a_task_reaches_no_closed_port_of_its_host(
    world: World, words: tuple[str, ...], *, guarded: bool
) -> None:
    if guarded:
        Guard(world.table, TABLE_CONFIG.mark).follow(world.rendered.state.sets)
    for address in (HERE_ADDRESS, HERE_ADDRESS6):
        with listening(Here(), address, 31000):
            assert connects(world["a1"], address, 31000), "an open port, which stays so"
    run("nft", *words)
    for address in (HERE_ADDRESS, HERE_ADDRESS6):
        with listening(Here(), address, 22000):
            assert connects(world["a1"], address, 22000) is not guarded
    with listening(Here(), HERE_ADDRESS, 22000):
        assert connects(world.outside, HERE_ADDRESS, 22000)


def tables() -> str:
    """The names of all tables of the host."""
    return run("nft", "list", "tables")


def mac_of_underlay() -> str:
    found: str = json.loads(run("ip", "-json", "link", "show", "eth0"))[0]["address"]
    return found


def know_neighbour(address: str, mac: str) -> None:
    run("ip", "neighbour", "add", address, "lladdr", mac, "dev", "eth0", "nud", "permanent")


@pytest.mark.parametrize("guarded", [pytest.param(True, id="guard"), pytest.param(False, id="-")])
def test_without_our_table_tasks_of_other_hosts_reach_no_closed_port_either(
    world: World, *, guarded: bool
) -> None:
    source, source6 = "10.9.0.40", "fd00:9::40"
    with world.outside.entered():
        run("ip", "address", "add", f"{source}/32", "dev", "eth0")
        run("ip", "address", "add", f"{source6}/128", "dev", "eth0", "nodad")
        run("ip", "route", "add", f"{HERE_ADDRESS}/32", "dev", "eth0", "src", source)
        run("ip", "route", "add", f"{HERE_ADDRESS6}/128", "dev", "eth0", "src", source6)
    for each in (source, source6):
        run("ip", "route", "add", each, "dev", "eth0", "table", str(ROUTE_TABLE))
    # A true host has an address of its own, by which neighbours find each other.
    ours = mac_of_underlay()
    with world.outside.entered():
        theirs = mac_of_underlay()
        know_neighbour(str(HERE_ADDRESS6), ours)
    know_neighbour(source6, theirs)
    if guarded:
        Guard(world.table, TABLE_CONFIG.mark).follow(world.rendered.state.sets)
    for address in (HERE_ADDRESS, HERE_ADDRESS6):
        with listening(Here(), address, 31000):
            assert connects(world.outside, address, 31000), "an open port, which stays so"
    run("nft", "flush", "ruleset")
    for address in (HERE_ADDRESS, HERE_ADDRESS6):
        with listening(Here(), address, 22000):
            assert connects(world.outside, address, 22000) is not guarded


@pytest.mark.parametrize("source", ["10.77.0.9", "fd00:77::9"])
@pytest.mark.parametrize("guarded", [pytest.param(True, id="guard"), pytest.param(False, id="-")])
def test_without_our_table_no_task_reaches_a_closed_port_in_another_name(
    world: World, source: str, *, guarded: bool
) -> None:
    for name in ("all", SPECS["b1"].interface):
        # Some hosts check no reverse path, and IPv6 never does.
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("0")
    claimed = IPAddress(source)
    here = HERE_ADDRESS if claimed.version == 4 else HERE_ADDRESS6
    packet = bytes_of(Packet(claimed, here, socket.IPPROTO_UDP, 5000, 22000), 1)
    if guarded:
        Guard(world.table, TABLE_CONFIG.mark).follow(world.rendered.state.sets)
    run("nft", "flush", "ruleset")
    with Here().socket(family_of(here), socket.SOCK_DGRAM) as receiver:
        receiver.bind((str(here), 22000))
        receiver.settimeout(WAIT)
        send_as(world["b1"], "b1", packet)
        if guarded:
            with pytest.raises(TimeoutError):
                receiver.recv(100)
        else:
            assert receiver.recvfrom(100)[1][0] == source


@pytest.mark.parametrize("guarded", [pytest.param(True, id="guard"), pytest.param(False, id="-")])
def test_without_our_table_a_task_says_nothing_more_where_it_was_let_in(
    world: World, *, guarded: bool
) -> None:
    if guarded:
        Guard(world.table, TABLE_CONFIG.mark).follow(world.rendered.state.sets)
    with (
        listening(Here(), HERE_ADDRESS, 31000) as listener,
        world["a1"].socket(socket.AF_INET, socket.SOCK_STREAM) as task,
    ):
        task.settimeout(WAIT)
        task.connect((str(HERE_ADDRESS), 31000))
        with listener.accept()[0] as host:
            host.settimeout(WAIT)
            task.send(b"before")
            assert host.recv(100) == b"before"
            run("nft", "flush", "ruleset")
            task.send(b"meanwhile")
            if guarded:
                with pytest.raises(TimeoutError):
                    host.recv(100)
            else:
                assert host.recv(100) == b"meanwhile"


def test_without_our_table_tasks_answer_their_host(world: World) -> None:
    Guard(world.table, TABLE_CONFIG.mark).follow(world.rendered.state.sets)
    run("nft", "flush", "ruleset")
    for address in SPECS["a1"].addresses:
        with listening(world["a1"], address, 22000):
            assert connects(Here(), address, 22000)


def test_an_agent_that_finds_all_in_place_brings_its_guard_back(world: World) -> None:
    with closing(KernelDataplane(mark=TABLE_CONFIG.mark)) as dataplane:
        assert GUARD not in tables()
        dataplane.observe()
        assert GUARD in tables()
        with listening(Here(), HERE_ADDRESS, 31000):
            assert connects(world["a1"], HERE_ADDRESS, 31000)


def test_a_guard_by_another_mark_than_the_tables_shuts_nothing(world: World) -> None:
    other = replace(TABLE_CONFIG, mark=TABLE_CONFIG.mark << 1)
    with closing(KernelDataplane(mark=other.mark)) as dataplane:
        # The datastore may be down; then the table stays as an earlier run left it.
        dataplane.observe()
        with listening(Here(), HERE_ADDRESS, 31000):
            assert connects(world["a1"], HERE_ADDRESS, 31000)
        changed = render_host(WORLD, other).state.chains.values()
        dataplane.apply((commit(changed),))
        assert GUARD in tables()
        with listening(Here(), HERE_ADDRESS, 31000):
            assert connects(world["a1"], HERE_ADDRESS, 31000)


def test_a_guard_that_is_refused_hinders_nothing_and_is_tried_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    # What has no owner yet cannot be given one, whatever the kernel.
    run("nft", "add", "table", "inet", GUARD)
    with closing(KernelDataplane(mark=TABLE_CONFIG.mark)) as dataplane:
        for _ in range(2):
            assert dataplane.observe().chains == world.rendered.state.chains
        assert [each.levelname for each in caplog.records] == ["WARNING"]
        run("nft", "delete", "table", "inet", GUARD)
        dataplane.observe()
        with pytest.raises(subprocess.CalledProcessError):
            run("nft", "delete", "table", "inet", GUARD)


def test_the_guard_stands_by_itself_and_ends_with_the_agent(world: World) -> None:
    run("nft", "flush", "ruleset")
    with closing(KernelDataplane(mark=TABLE_CONFIG.mark)) as dataplane:
        dataplane.apply((commit_of(world.rendered.state),))
        with pytest.raises(subprocess.CalledProcessError):
            run("nft", "delete", "table", "inet", GUARD)
        assert GUARD in tables()
        assert str(POOL.cidr) in run("nft", "list", "table", "inet", GUARD)
        wider = replace(
            world.rendered.state.sets["tasks4"], elements=frozenset({("prefix", "10.64.0.0", 10)})
        )
        dataplane.apply((CommitTable(sets=(wider,)),))
        assert "10.64.0.0/10" in run("nft", "list", "table", "inet", GUARD)
    assert GUARD not in tables()
    assert TABLE in tables()
