"""Programming the endpoints of one host, against the standard tools.

All sides make, in one run and in turn, the same things in the kernel: a veth
for each task with its peer configured inside the task's namespace, a neighbour
and a route on the host, and the task's elements in sets of one table. The
reference is what a script would do at best: two `ip -batch`, one more in each
namespace, and one `nft -f -`. For us it includes rendering, looking at the
kernel and comparing, which is what the agent does.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from netaddr import IPAddress

from calico.dataplane.changes import NamespaceRef
from calico.dataplane.kernel import KernelDataplane
from calico.dataplane.render.host import render_host
from calico.dataplane.state import HostState
from calico.model import Snapshot, TaskId
from reconciler.core.plan import plan_host
from tests.bench.hosts import give_underlay, namespaces, run
from tests.bench.report import Line, figure
from tests.dataplane_worlds import CONFIG, group, openings, snapshot, spec
from tests.kernel.namespaces import Namespace, fresh_network

#: How many endpoints, how often, and the most of the reference's time and the
#: most seconds that it may take.
SIZES = ((1, 5, None, None), (100, 5, 0.25, None), (1000, 3, 0.25, 1.2))
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


def measure() -> Iterator[Line]:
    """Add and remove all endpoints at once, in turn with the reference."""
    most = max(count for count, *_ in SIZES)
    with ExitStack() as stack:
        stack.enter_context(fresh_network())
        give_underlay()
        tasks = stack.enter_context(namespaces(most))
        addresses = [IPAddress(0x0A090000 + number) for number in range(1, most + 1)]
        reference, ours = Reference(), Ours()
        for count, rounds, share, seconds in SIZES:
            some = list(zip(tasks[:count], addresses[:count], strict=True))
            world = Wanted(some)
            added, removed, singly, theirs = [], [], [], []
            for _ in range(rounds):
                theirs.append(reference.add(some))
                singly.append(reference.remove(some if count == 100 else ()))
                added.append(ours.bring(world, world.full))
                removed.append(ours.bring(world, world.empty))
            ratios = [one / other for one, other in zip(added, theirs, strict=True)]
            yield figure(f"{count} added, of `ip -batch` + `nft -f -`", ratios, "x", share)
            yield figure(f"{count} added", added, "s", seconds)
            yield figure(f"{count} removed", removed, "s", 0.1 if count == 100 else None)
            if count == 100:
                faster = [one / other for one, other in zip(singly, removed, strict=True)]
                yield figure("100 removed: one by one takes", faster, "x", least=20)


class Wanted:
    """What the host should hold with these tasks, and without."""

    def __init__(self, some: Sequence[tuple[Namespace, IPAddress]]) -> None:
        self.namespaces: Mapping[TaskId, NamespaceRef] = {
            TaskId(f"t{n}"): task.ref for n, (task, _) in enumerate(some)
        }
        specs = [
            spec(f"t{n}", "g", "app-g", addresses=[str(address)])
            for n, (_, address) in enumerate(some)
        ]
        profiles = [group("g"), openings("app-g", "g", 9000)]
        self.full = snapshot(specs, profiles)
        self.empty = snapshot([], profiles)


class Reference:
    """The same by scripts of the standard tools."""

    def __init__(self) -> None:
        run(["nft", "-f", "-"], TABLE)

    def add(self, some: Sequence[tuple[Namespace, IPAddress]]) -> float:
        """Everything for all tasks; the seconds it took."""
        started = time.perf_counter()
        links = "".join(
            f"link add r{n} mtu 1500 address ee:ee:ee:ee:ee:ee group {GROUP} type veth "
            f"peer name eth0 address 02:00:00:00:00:01 netns {task.pid}\n"
            f"link set r{n} up alias task-{n}\n"
            f"neigh add {address} lladdr 02:00:00:00:00:01 dev r{n} nud permanent\n"
            for n, (task, address) in enumerate(some)
        )
        run(["ip", "-batch", "-"], links)
        routes = "".join(
            f"route add {address}/32 dev r{n} scope link table 81 proto 81\n"
            for n, (_, address) in enumerate(some)
        )
        run(["ip", "-batch", "-"], routes)
        for task, address in some:
            inside = ["nsenter", f"--net=/proc/{task.pid}/ns/net", "ip", "-batch", "-"]
            run(inside, INSIDE.format(address=address))
        elements = ", ".join(str(address) for _, address in some)
        run(
            ["nft", "-f", "-"],
            "".join(f"add element inet reference m{n} {{ {elements} }}\n" for n in range(SETS)),
        )
        return time.perf_counter() - started

    def remove(self, singly: Sequence[tuple[Namespace, IPAddress]] = ()) -> float:
        """Take all of it away, links at once or one by one; the seconds that links took."""
        started = time.perf_counter()
        if singly:
            run(["ip", "-batch", "-"], "".join(f"link del r{n}\n" for n in range(len(singly))))
        else:
            run(["ip", "link", "del", "group", GROUP])
        seconds = time.perf_counter() - started
        run(
            ["nft", "-f", "-"],
            "".join(f"flush set inet reference m{n}\n" for n in range(SETS)),
        )
        return seconds


class Ours:
    """Render, observe, plan and apply, as the agent does."""

    def __init__(self) -> None:
        self._dataplane = KernelDataplane()

    def bring(self, world: Wanted, wanted: Snapshot) -> float:
        """Make the kernel hold this; the seconds it took."""
        started = time.perf_counter()
        desired = render_host(wanted, CONFIG).state
        plan = plan_host(self._dataplane.observe(), desired, world.namespaces).plan
        applied = self._dataplane.apply(plan)
        seconds = time.perf_counter() - started
        if applied.failures:
            raise RuntimeError(next(iter(applied.failures.values())))
        self._check(desired, world)
        return seconds

    def _check(self, desired: HostState, world: Wanted) -> None:
        left = plan_host(self._dataplane.observe(), desired, world.namespaces).plan
        if left:
            raise RuntimeError(f"not brought about: {left[0]}")
