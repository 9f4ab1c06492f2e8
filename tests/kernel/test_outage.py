"""Hosts that cannot reach etcd for a while: what was allowed stays, what is new waits."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from netaddr import IPAddress

from calico.keys import READY
from tests.kernel.cluster import CLOSED_PORT, ONE, PORT, Cluster, run, running_cluster, task_of
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening
from tests.kernel.sensors import Flow
from tests.minimal.machine import COMMAND

ANY = IPAddress("0.0.0.0")
A, B, LATE = task_of("a.1", 1, "red"), task_of("b.1", 2, "red"), task_of("c.1", 3, "red")
FLOW_PORT = PORT


Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def cluster(namespace: Callable[[], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, namespace) as made:
        made.run_tasks(A, B)
        made.settle()
        yield made


@pytest.fixture
def outage(cluster: Cluster) -> Iterator[Outage]:
    """etcd does not run while the body does; then it goes on with its own data."""
    with ExitStack() as stack:

        @contextmanager
        def made() -> Iterator[None]:
            pid, command = etcd_process(cluster.etcd)
            os.kill(pid, signal.SIGKILL)
            cluster.wait_for("the end of etcd", lambda: not listens(cluster.etcd))
            yield
            with (cluster.directory / "etcd.log").open("ab") as log:
                etcd = stack.enter_context(
                    # Not to be left behind when the test runner is killed.
                    subprocess.Popen(
                        ["setpriv", "--pdeathsig", "KILL", "--", *command], stdout=log, stderr=log
                    )
                )
            stack.callback(etcd.kill)
            cluster.wait_for("etcd", lambda: listens(cluster.etcd))

        yield made


@contextmanager
def cut_off(cluster: Cluster) -> Iterator[None]:
    """Nothing passes between etcd and any host while the body runs; the test itself reaches it."""
    port = urlsplit(cluster.etcd).port
    run("nft", "add table ip gate")
    run("nft", "add chain ip gate in { type filter hook input priority 0; }")
    run("nft", "add chain ip gate out { type filter hook output priority 0; }")
    run("nft", f"add rule ip gate in iifname lan tcp dport {port} drop")
    run("nft", f"add rule ip gate out oifname lan tcp sport {port} drop")
    yield
    run("nft", "delete table ip gate")


def etcd_process(url: str) -> tuple[int, list[str]]:
    """The etcd that serves a URL, and how it was started."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode().split("\0")[:-1]
            if "--listen-client-urls" in words and url in words:
                return int(path.parent.name), words
    raise AssertionError(f"no etcd serves {url}")


def listens(url: str) -> bool:
    """Whether somebody takes connections there."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=1).close()
    except OSError:
        return False
    return True


def said(cluster: Cluster, words: str) -> int:
    """How often the agent of host one has said something."""
    return cluster.hosts[ONE].log.read_text().count(words)


def start_anew(cluster: Cluster, change: Callable[[Path], object] = lambda _: None) -> None:
    """Kill host one's agent, perhaps change its state file, and start it again."""
    saved = cluster.directory / f"state-{ONE}" / "state"
    cluster.wait_for("the state file", lambda: b"b.1" in saved.read_bytes())
    cluster.kill(ONE)
    change(saved)
    losses = said(cluster, "datastore lost")
    cluster.start(ONE)
    cluster.wait_for("the loss", lambda: said(cluster, "datastore lost") > losses)
    # The loss is logged when it is heard of, and acted on in the pass after that.
    cluster.wait_for("a pass", lambda: acts_on(cluster) is not None)


def acts_on(cluster: Cluster) -> object:
    """What the agent of host one acts on."""
    return cluster.page(ONE, "/readyz").get("source")


def as_allowed(cluster: Cluster) -> bool:
    """Whether exactly what was allowed is possible."""
    with ExitStack() as stack:
        for port in (PORT, CLOSED_PORT):
            stack.enter_context(listening(cluster["b.1"], ANY, port))
        return connects(cluster["a.1"], B.addresses[0], PORT) and not connects(
            cluster["a.1"], B.addresses[0], CLOSED_PORT
        )


def devices(cluster: Cluster, task: str) -> str:
    """The network devices that a task has."""
    with cluster[task].entered():
        return run("ip", "-brief", "link")


def test_a_new_task_stays_closed_until_etcd_is_back_and_nothing_else_changes(
    cluster: Cluster,
) -> None:
    with Flow(cluster["a.1"], cluster["b.1"], B.addresses[0], FLOW_PORT) as flow:
        with cut_off(cluster):
            cluster.task(LATE)
            cluster.put(LATE)
            # Longer than a search for its namespace, or a look, would take.
            cluster.wait_for("a while", lambda: flow.received > 2500)
            assert "eth0" not in devices(cluster, "c.1")
            assert "c.1" not in cluster.up()
            changed = said(cluster, "kernel changed")
        cluster.wait_up("c.1")
        cluster.settle()
        assert said(cluster, "kernel changed") - changed <= 2, "its policy and its link"
        assert flow.lost == []
    assert as_allowed(cluster)


def test_an_agent_started_without_etcd_changes_nothing_then_nor_when_it_is_back(
    cluster: Cluster, outage: Outage
) -> None:
    with Flow(cluster["a.1"], cluster["b.1"], B.addresses[0], FLOW_PORT) as flow:
        with outage():
            changed = said(cluster, "kernel changed")
            start_anew(cluster)
            cluster.wait_for("the file", lambda: acts_on(cluster) == "file")
            assert cluster.page(ONE, "/readyz")["ok"] is False
            assert as_allowed(cluster)
        cluster.wait_for("etcd", lambda: acts_on(cluster) == "datastore")
        cluster.settle()
        assert said(cluster, "kernel changed") == changed
        assert flow.lost == []
        assert flow.received > 500
    assert cluster.up() == {"a.1", "b.1"}


def test_without_etcd_what_others_change_is_mended_from_the_state_file(
    cluster: Cluster, outage: Outage
) -> None:
    with outage():
        start_anew(cluster)
        with cluster.hosts[ONE].network.entered():
            for command in (
                "nft flush ruleset",
                "ip route flush table 80",
                "ip rule delete preference 100",
                f"ip link set {B.interface} down",
                "sysctl -qw net.ipv4.ip_forward=0",
            ):
                run(*command.split())
        cluster.wait_for("all to be mended", lambda: as_allowed(cluster))
        changed = said(cluster, "kernel changed")
    cluster.wait_for("etcd", lambda: acts_on(cluster) == "datastore")
    cluster.settle()
    assert said(cluster, "kernel changed") == changed
    assert as_allowed(cluster)


def other_hosts(saved: Path) -> None:
    """Put the file of another host in its place, as a careless copy would."""
    saved.write_bytes((saved.parent.parent / "state-two" / "state").read_bytes())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            lambda saved: saved.write_bytes(saved.read_bytes()[:-100]),
            "its checksum is wrong",
            id="cut off",
        ),
        pytest.param(other_hosts, "it belongs to host 'two'", id="another host's"),
    ],
)
def test_a_state_file_that_cannot_be_trusted_is_named_and_not_acted_on(
    cluster: Cluster, outage: Outage, change: Callable[[Path], object], reason: str
) -> None:
    with outage():
        changed = said(cluster, "kernel changed")
        start_anew(cluster, change)
        assert reason in cluster.hosts[ONE].log.read_text()
        assert acts_on(cluster) == "nothing"
        assert as_allowed(cluster)
        assert said(cluster, "kernel changed") == changed
    cluster.run_tasks(LATE)
    assert as_allowed(cluster)


def test_after_a_reboot_without_etcd_the_host_is_closed_and_no_task_is_wired(
    cluster: Cluster, outage: Outage
) -> None:
    with outage():
        cluster.reboot(ONE)
        cluster.start(ONE)
        cluster.wait_for("the file", lambda: acts_on(cluster) == "file")
        cluster.task(A)
        with cluster.hosts[ONE].network.entered():
            cluster.wait_for("the table", lambda: "marathon-calico" in run("nft", "list", "tables"))
        assert "eth0" not in devices(cluster, "a.1")
    cluster.wait_up("a.1")


def test_status_names_the_hosts_that_act_on_a_saved_state(cluster: Cluster) -> None:
    start_without_belief(cluster)
    cluster.wait_for("the file", lambda: acts_on(cluster) == "file")

    def told() -> set[str]:
        done = subprocess.run(
            [COMMAND, "status", "--etcd", cluster.etcd, "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
        )
        problems = json.loads(done.stdout)["problems"]
        return {each["what"] for each in problems if each["where"] == ONE and done.returncode == 1}

    cluster.wait_for("both", lambda: len(told()) == 2)
    doubt, saved = sorted(told())
    assert doubt.startswith("/calico/v1/Ready is not true")
    assert saved.startswith("acting on the state saved")

    cluster.store.put(READY, "true")
    cluster.wait_for("etcd", lambda: acts_on(cluster) == "datastore" and told() == set())


def start_without_belief(cluster: Cluster) -> None:
    """Start host one's agent anew while etcd says that it is not whole."""
    saved = cluster.directory / f"state-{ONE}" / "state"
    cluster.wait_for("the state file", lambda: b"b.1" in saved.read_bytes())
    cluster.kill(ONE)
    cluster.store.put(READY, "false")
    cluster.start(ONE)
