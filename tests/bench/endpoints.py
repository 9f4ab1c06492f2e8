"""Programming the endpoints of one host, against the standard tools.

Both sides make, in one run and in turn, the same things in the kernel: a veth
for each task with its peer configured inside the task's namespace, a neighbour
and a route on the host, and the task's elements in sets of one table. The
reference is what a script would do at best: two `ip -batch`, one more in each
namespace, and one `nft -f -`. For us it includes rendering, looking at the
kernel and comparing, which is what the agent does.
"""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from netaddr import IPAddress
from pyroute2 import IPRoute

from calico.dataplane.changes import NamespaceRef
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.render import render_host
from calico.dataplane.state import HostState
from calico.model import Snapshot, TaskId
from reconciler.core.plan import plan_host
from tests.bench.report import Figure, median
from tests.dataplane_worlds import CONFIG, HERE_ADDRESS, group, openings, snapshot, spec
from tests.kernel.namespaces import Namespace, fresh_network

ROUNDS = 5
GROUP = "81"
TABLE = (
    "table inet reference { set m0 { type ipv4_addr; }; set m1 { type ipv4_addr; }; "
    "set m2 { type ipv4_addr; }; set m3 { type ipv4_addr; }; set m4 { type ipv4_addr; }; }"
)
SETS = 5
INSIDE = (
    "link set lo up\naddr add {address}/32 dev eth0\nlink set eth0 up\n"
    "route add 169.254.1.1 dev eth0 scope link\nroute add default via 169.254.1.1 dev eth0\n"
    "neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent\n"
)


def measure(count: int = 100) -> Iterator[Figure]:
    """Add and remove all endpoints at once, in turn with the reference."""
    with ExitStack() as stack:
        stack.enter_context(fresh_network())
        _give_underlay()
        tasks = []
        for _ in range(count):
            tasks.append(Namespace.start())
            stack.callback(tasks[-1].end)
        addresses = [IPAddress(0x0A090000 + number) for number in range(1, count + 1)]
        reference = Reference(tasks, addresses)
        ours = Ours(tasks, addresses)
        added, removed, ratios = [], [], []
        for _ in range(ROUNDS):
            theirs = reference.add()
            reference.remove()
            added.append(ours.bring(ours.full))
            ratios.append(added[-1] / theirs)
            removed.append(ours.bring(ours.empty))
        yield Figure(f"{count} endpoints, of `ip -batch` + `nft -f -`", median(ratios), "x", 1.5)
        yield Figure(f"{count} endpoints", 1000 * median(added), "ms")
        yield Figure(f"{count} endpoints removed", 1000 * median(removed), "ms", 100)
        ours.bring(ours.full)
        idle = median([ours.bring(ours.full) for _ in range(ROUNDS)])
        yield Figure(f"a pass over {count} endpoints that changes nothing", 1000 * idle, "ms")
        ours.bring(ours.empty)
        one = [ours.bring(ours.first) for _ in range(ROUNDS) if ours.bring(ours.empty) >= 0]
        yield Figure("one endpoint", 1000 * median(one), "ms")


class Reference:
    """The same by scripts of the standard tools."""

    def __init__(self, tasks: Sequence[Namespace], addresses: Sequence[IPAddress]) -> None:
        self._tasks = tasks
        self._addresses = addresses
        _run(["nft", "-f", "-"], TABLE)

    def add(self) -> float:
        """Everything for all tasks; the seconds it took."""
        pairs = list(zip(self._tasks, self._addresses, strict=True))
        started = time.perf_counter()
        links = "".join(
            f"link add r{n} mtu 1500 address ee:ee:ee:ee:ee:ee group {GROUP} type veth "
            f"peer name eth0 address 02:00:00:00:00:01 netns {task.pid}\n"
            f"link set r{n} up alias task-{n}\n"
            f"neigh add {address} lladdr 02:00:00:00:00:01 dev r{n} nud permanent\n"
            for n, (task, address) in enumerate(pairs)
        )
        _run(["ip", "-batch", "-"], links)
        routes = "".join(
            f"route add {address}/32 dev r{n} scope link table 81 proto 81\n"
            for n, (_, address) in enumerate(pairs)
        )
        _run(["ip", "-batch", "-"], routes)
        for task, address in pairs:
            inside = ["nsenter", f"--net=/proc/{task.pid}/ns/net", "ip", "-batch", "-"]
            _run(inside, INSIDE.format(address=address))
        elements = ", ".join(map(str, self._addresses))
        _run(
            ["nft", "-f", "-"],
            "".join(f"add element inet reference m{n} {{ {elements} }}\n" for n in range(SETS)),
        )
        return time.perf_counter() - started

    def remove(self) -> None:
        """Take all of it away."""
        _run(["ip", "link", "del", "group", GROUP], "")
        _run(
            ["nft", "-f", "-"],
            "".join(f"flush set inet reference m{n}\n" for n in range(SETS)),
        )


class Ours:
    """Render, observe, plan and apply, as the agent does."""

    def __init__(self, tasks: Sequence[Namespace], addresses: Sequence[IPAddress]) -> None:
        self._dataplane = KernelDataplane()
        self._namespaces: Mapping[TaskId, NamespaceRef] = {
            TaskId(f"t{n}"): task.ref for n, task in enumerate(tasks)
        }
        specs = [
            spec(f"t{n}", "g", "app-g", addresses=[str(address)])
            for n, address in enumerate(addresses)
        ]
        profiles = [group("g"), openings("app-g", "g", 9000)]
        self.full = snapshot(specs, profiles)
        self.first = snapshot(specs[:1], profiles)
        self.empty = snapshot([], profiles)
        self.bring(self.empty)

    def bring(self, wanted: Snapshot) -> float:
        """Make the kernel hold this; the seconds it took."""
        started = time.perf_counter()
        desired = render_host(wanted, CONFIG).state
        plan = plan_host(self._dataplane.observe(), desired, self._namespaces).plan
        applied = self._dataplane.apply(plan)
        seconds = time.perf_counter() - started
        if applied.failures:
            raise RuntimeError(next(iter(applied.failures.values())))
        self._check(desired)
        return seconds

    def _check(self, desired: HostState) -> None:
        left = plan_host(self._dataplane.observe(), desired, self._namespaces).plan
        if left:
            raise RuntimeError(f"not brought about: {left[0]}")


def _give_underlay() -> None:
    with IPRoute() as routes:
        routes.link("add", ifname=CONFIG.underlay, kind="veth", peer={"ifname": "rest0"})
        for name in (CONFIG.underlay, "rest0"):
            routes.link("set", index=routes.link_lookup(ifname=name)[0], state="up")
        index = routes.link_lookup(ifname=CONFIG.underlay)[0]
        routes.addr("add", index=index, address=str(HERE_ADDRESS), prefixlen=24)


def _run(command: Sequence[str], text: str) -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[:500]}")
