"""A host with a real agent, etcd and no controller, for runtimes that call our plugins.

The test writes endpoints as the controller would.
"""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netaddr import IPAddress

from calico.addressing.ledger import Ledger
from calico.codec import encode_endpoint, encode_pool, encode_rules, encode_tags
from calico.datastore.etcd import EtcdDatastore
from calico.keys import CLUSTER_GUID, READY, endpoint_key, host_key, pool_key, profile_key
from calico.model import ContainerId, EndpointSpec, HandleId, HostName, Pool
from calico.names import handle_of_container
from tests.dataplane_worlds import POOL, group, openings
from tests.kernel.attaching import claim
from tests.minimal.machine import COMMAND, HOST, Machine, running_machine
from tests.minimal.past import give_past

HERE = HostName(HOST)
GROUPS = ("red", "blue")
PORT, CLOSED_PORT = 9000, 9999


@dataclass
class AttachedHost:
    """The host; `socket` is its agent's."""

    machine: Machine
    store: EtcdDatastore
    socket: Path

    def start(self) -> None:
        """Start the agent and wait until it has registered."""
        self.machine.start("agent")
        self.machine.wait_for("an agent", self._answers)

    def held(self) -> dict[HandleId, tuple[IPAddress, ...]]:
        """Who holds which addresses, by the blocks themselves."""
        found: dict[HandleId, tuple[IPAddress, ...]] = {}
        for block, _ in Ledger(self.store).blocks():
            for ordinal, allocation in enumerate(block.allocations):
                if allocation is not None and allocation.handle is not None:
                    found[allocation.handle] = (
                        *found.get(allocation.handle, ()),
                        block.cidr[ordinal],
                    )
        return found

    def given_to(self, container: str) -> tuple[IPAddress, ...]:
        """The addresses of a container that no task has claimed."""
        return self.held().get(handle_of_container(ContainerId(container)), ())

    def open(self, task: str, container: str, group_name: str) -> EndpointSpec:
        """Write the endpoint of a task that a container runs."""
        wanted = claim(
            HERE, task, container, self.given_to(container), group_name, f"app-{group_name}"
        )
        self.store.put(endpoint_key(wanted.id), encode_endpoint(wanted))
        return wanted

    def withdraw(self, wanted: EndpointSpec) -> None:
        """Take a task's endpoint away."""
        self.store.delete(endpoint_key(wanted.id))

    def books(self) -> str:
        """What `ipam check` finds, empty if all is as it should be."""
        done = subprocess.run(
            [COMMAND, "ipam", "check", "--etcd", self.machine.etcd],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def expect_nothing_left(self) -> None:
        """No address is held, no link is there and the books agree."""
        assert self.held() == {}
        assert links() == set()
        assert self.books() == ""

    def _answers(self) -> bool:
        return self.socket.exists() and self.store.get(host_key(HERE)) is not None


def links() -> set[str]:
    """The containers' links in the calling thread's namespace, which is the host's."""
    return {name for _, name in socket.if_nameindex() if name.startswith("cali")}


@contextmanager
def running_host(directory: Path, pool: Pool = POOL, *flags: str) -> Iterator[AttachedHost]:
    """Etcd with a pool and two groups; the agent runs.

    The calling thread is in a network namespace made for the test.
    """
    # A socket's path has 107 bytes, fewer than a test's own folder takes.
    short = Path(tempfile.mkdtemp(prefix="mc-", dir="/tmp"))
    try:
        with running_machine(directory) as machine:
            machine.agent_flags = ("--socket", str(short / "agent.sock"), *flags)
            store = EtcdDatastore([machine.etcd])
            store.put(CLUSTER_GUID, "one")
            store.put(pool_key(pool), encode_pool(pool))
            for profile in (
                made
                for name in GROUPS
                for made in (group(name), openings(f"app-{name}", name, PORT))
            ):
                store.put(profile_key(profile.id, "tags"), encode_tags(profile))
                store.put(profile_key(profile.id, "rules"), encode_rules(profile))
            store.put(READY, "true")
            give_past(machine.state, HOST)
            host = AttachedHost(machine, store, short / "agent.sock")
            host.start()
            yield host
    finally:
        shutil.rmtree(short)
