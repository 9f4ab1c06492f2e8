"""A change too large for one transaction, as it is for an ordinary user."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from netaddr import IPAddress

from calico.dataplane.nft.library import NftTable
from calico.dataplane.nft.split import Room
from calico.dataplane.nft.table import Table
from calico.dataplane.render.host import render_host
from calico.dataplane.state import HostState
from calico.model import Snapshot
from reconciler.core.plan import plan_host
from tests.dataplane_worlds import CONFIG, group, openings, snapshot, spec
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects
from tests.kernel.tables import A1, A2, OTHER_PORT, PORT, SPECS, TABLE_CONFIG, make_world

Make = Callable[[], Namespace]
ENDPOINTS, APPS = 1000, 100
CHANGES = 20
#: By the kernel's own default of net.core.wmem_max.
LEAST_ROOM = Room(any=212_000, elements=212_000)


def many(count: int, port: int) -> Snapshot:
    """A host with many tasks, ten to an app."""
    specs = [
        spec(
            f"t{number}",
            f"g{number % APPS}",
            f"app-{number % APPS}",
            addresses=[str(IPAddress(0x0A090001 + number)), f"fd00:9::{number + 1:x}"],
        )
        for number in range(count)
    ]
    apps = [openings(f"app-{number}", f"g{number}", port) for number in range(APPS)]
    return snapshot(specs, [*(group(f"g{number}") for number in range(APPS)), *apps])


def bring(table: Table, desired: HostState) -> None:
    """Commit what differs, and see that nothing differs any more."""
    for _ in range(2):
        chains, sets = table.read()
        observed = HostState(chains=chains, sets=sets)
        wanted = HostState(chains=desired.chains, sets=desired.sets)
        plan = plan_host(observed, wanted, {}).plan
        for change in plan:
            table.commit(change)
    assert plan == ()
    assert table.read() == (desired.chains, desired.sets)
    with closing(NftTable()) as library:
        library.open()
        assert library.read() == table.read()


def main() -> None:
    """Bring a thousand endpoints about, change their policy, take most away.

    Once with all the room that there is, once with as much as every Linux has.
    """
    for most in (None, LEAST_ROOM):
        with closing(Table(most)) as table:
            table.open()
            for world in (many(ENDPOINTS, 9000), many(ENDPOINTS, 9001), many(10, 9001)):
                bring(table, render_host(world, CONFIG).state)


def test_an_ordinary_user_has_room_for_a_thousand_endpoints() -> None:
    # Only in the initial user namespace may root send as much as it likes.
    limited = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    done = subprocess.run(
        [*limited, sys.executable, "-m", __name__], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@dataclass
class Flood:
    """Datagrams that are sent without a pause."""

    sent: int = 0
    received: int = 0


@contextmanager
def flooding(source: Namespace, target: Namespace, address: IPAddress) -> Iterator[Flood]:
    """Send until left; what arrives counts."""
    flood, stopped = Flood(), threading.Event()
    receiver = target.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((str(address), PORT))
    receiver.setblocking(False)
    sender = source.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send() -> None:
        while not stopped.is_set():
            sender.sendto(b"forbidden", (str(address), PORT))
            flood.sent += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield flood
    finally:
        stopped.set()
        thread.join()
        while _takes(receiver):
            flood.received += 1


def _takes(receiver: socket.socket) -> bool:
    try:
        return bool(receiver.recv(100))
    except BlockingIOError:
        return False


def of_groups(members: Sequence[str], port: int) -> HostState:
    """The table when these are in the group, and the group reaches this port of a1."""
    specs = [
        replace(each, profiles=(*(("red",) if name in members else ()), f"app-{name}"))
        for name, each in SPECS.items()
    ]
    apps = [openings(f"app-{name}", "red", port) for name in SPECS]
    return render_host(snapshot(specs, [group("red"), *apps]), TABLE_CONFIG).state


def test_what_neither_policy_allows_never_passes_while_one_follows_the_other(
    namespace: Make,
) -> None:
    world = make_world(namespace)
    # Together, the members of the one and the port of the other would let b1 in.
    before, desired = of_groups(["a1", "a2"], PORT), of_groups(["a2", "b1"], OTHER_PORT)
    with closing(Table(Room(any=1, elements=1))) as table:
        table.open()
        bring(table, before)
        with flooding(world["b1"], world["a1"], A1) as flood:
            for _ in range(CHANGES):
                bring(table, desired)
                bring(table, before)
    assert flood.sent > 1000
    assert flood.received == 0


def test_an_established_flow_goes_on_while_policy_changes_in_steps(namespace: Make) -> None:
    world = make_world(namespace)
    before, desired = of_groups(["a1", "a2"], PORT), of_groups(["a1", "a2", "b1"], PORT)
    with closing(Table(Room(any=1, elements=1))) as table:
        table.open()
        bring(table, before)
        with (
            world["a2"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
            world["a1"].socket(socket.AF_INET, socket.SOCK_STREAM) as client,
        ):
            listener.bind((str(A2), PORT))
            listener.listen()
            client.connect((str(A2), PORT))
            server, _ = listener.accept()
            for side in (client, server):
                side.settimeout(0.2)
            with server:
                for state in (desired, before) * 3:
                    bring(table, state)
                    client.sendall(b"ping")
                    assert server.recv(10) == b"ping"
                    server.sendall(b"pong")
                    assert client.recv(10) == b"pong"
                assert connects(world["a1"], A2, PORT)
                assert not connects(world["b1"], A2, PORT)


if __name__ == "__main__":
    main()
