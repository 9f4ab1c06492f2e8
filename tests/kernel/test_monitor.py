"""What only the kernel's own monitor can meet: floods of events, and namespaces."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from calico.dataplane.api import Noticed
from calico.dataplane.changes import AttachTask
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.monitor import GLANCE_EVERY, KernelMonitor
from calico.dataplane.netlink.events import own_ports
from tests.kernel.namespaces import Namespace
from tests.kernel.test_links import run, wired

QUIET = GLANCE_EVERY + 0.25


@pytest.fixture
def monitor(host_network: None) -> Iterator[KernelMonitor]:
    with closing(KernelMonitor()) as made:
        made.open()
        yield made


def test_events_that_were_lost_may_have_been_about_ours(monitor: KernelMonitor) -> None:
    routes = "\n".join(
        f"route add blackhole 10.{number >> 8}.{number & 255}.0/24" for number in range(8000)
    )
    subprocess.run(["ip", "-batch", "-"], input=routes, text=True, check=True)
    assert monitor.wait(QUIET) == Noticed(foreign=True)
    assert monitor.wait(QUIET) is None


def test_what_happens_in_other_namespaces_is_nothing_to_it(
    monitor: KernelMonitor, namespace: Callable[[], Namespace]
) -> None:
    with namespace().entered():
        run("nft", "add table inet marathon-calico")
        run("ip", "rule", "add", "preference", "100", "lookup", "80")
    assert monitor.wait(QUIET) is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("ipv4/conf/{link}/rp_filter", "0", id="one with an event"),
        pytest.param("ipv4/conf/{link}/route_localnet", "1", id="one without"),
        pytest.param("ipv6/conf/{link}/accept_ra", "2", id="one of IPv6"),
    ],
)
def test_a_setting_of_our_link_makes_it_unsound_until_it_is_back(
    monitor: KernelMonitor, namespace: Callable[[], Namespace], setting: str, value: str
) -> None:
    link = wired(1)
    with closing(KernelDataplane()) as dataplane:
        dataplane.apply((AttachTask(link, namespace().ref),))
    while (noticed := monitor.wait(QUIET)) is not None:
        seen = noticed.links[link.name]
    assert seen == link

    path = Path("/proc/sys/net", setting.format(link=link.name))
    before = path.read_text()
    for text, sound in ((value, False), (before, True)):
        path.write_text(text)
        noticed = monitor.wait(QUIET)
        assert noticed is not None
        seen = noticed.links[link.name]
        assert seen is not None
        assert seen.sound is sound


def test_our_own_sockets_are_known_by_their_ports(host_network: None) -> None:
    before = own_ports()
    with closing(KernelDataplane()) as dataplane:
        dataplane.observe()
        ours = own_ports()
        assert ours > before
        other = subprocess.run(
            ["sh", "-c", "cat /proc/net/netlink"], check=True, capture_output=True, text=True
        ).stdout
        assert {line.split()[2] for line in other.splitlines()[1:]} >= set(map(str, ours))
    assert own_ports() == before
