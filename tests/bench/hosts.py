"""Namespaces that play hosts, wired by the product or by hand."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute

from calico.dataplane.changes import CommitTable
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.render.host import render_host
from calico.model import EndpointSpec, TaskId
from reconciler.core.plan import plan_host
from tests.bench.clusters import Cluster
from tests.dataplane_worlds import CONFIG, HERE_ADDRESS
from tests.kernel.namespaces import Namespace
from tests.kernel.wires import wire

#: Closed connections are soon forgotten, or the table of connections would fill.
FORGET_CLOSED = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Some namespaces; all end afterwards."""
    made: list[Namespace] = []
    try:
        for _ in range(count):
            made.append(Namespace.start())
        yield made
    finally:
        for each in made:
            each.end()


def give_underlay() -> None:
    """Give the calling thread's namespace an interface to other hosts."""
    with IPRoute() as routes:
        routes.link("add", ifname=CONFIG.underlay, kind="veth", peer={"ifname": "rest0"})
        for name in (CONFIG.underlay, "rest0"):
            routes.link("set", index=routes.link_lookup(ifname=name)[0], state="up")
        index = routes.link_lookup(ifname=CONFIG.underlay)[0]
        routes.addr("add", index=index, address=str(HERE_ADDRESS), prefixlen=24)


def check_reverse_paths(interfaces: Iterable[str]) -> None:
    """Drop what comes from where no route leads, as Felix and we have it on tasks' interfaces."""
    for name in ("all", *interfaces):
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("1")


def wire_by_hand(tasks: Mapping[EndpointSpec, Namespace]) -> None:
    """Connect tasks to the calling thread's namespace as routers do, and no more."""
    FORWARD.write_text("1")
    for spec, task in tasks.items():
        assert spec.mac is not None
        wire(spec.interface, task, spec.mac, *spec.addresses)


def bring_about(cluster: Cluster, tasks: Mapping[EndpointSpec, Namespace]) -> None:
    """Let the product bring a whole host about, in the calling thread's namespace.

    Tasks without a namespace have their policy and wait for their links.
    """
    give_underlay()
    dataplane = KernelDataplane()
    namespaces_by_task = {TaskId(spec.id.workload): task.ref for spec, task in tasks.items()}
    desired = render_host(cluster.snapshot, CONFIG).state
    plan = plan_host(dataplane.observe(), desired, namespaces_by_task).plan
    failures = dataplane.apply(plan).failures
    if failures:
        raise RuntimeError(next(iter(failures.values())))
    left = plan_host(dataplane.observe(), desired, {}).plan
    if any(isinstance(change, CommitTable) for change in left):
        raise RuntimeError("the table is not what was rendered")
    dataplane.close()


def run(command: Sequence[str], text: str = "", **environment: str) -> None:
    """Run a standard tool on some input; raises RuntimeError with what it said."""
    done = subprocess.run(
        command,
        input=text,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[:500]}")
