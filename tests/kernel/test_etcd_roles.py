"""The page on etcd's roles: its commands, as written, and what each user may do then."""

import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calico.addressing.addresses import Addresses
from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from calico.errors import DatastoreRefused
from calico.keys import (
    APPLIED,
    CHAIN,
    CLUSTER_GUID,
    FELIX,
    FORGOTTEN,
    HOSTS,
    LEADER,
    OBJECTIONS,
    READY,
    TASKS,
    handle_key,
)
from calico.model import ContainerId, HostName
from calico.names import handle_of_container
from tests.kernel.namespaces import Namespace
from tests.minimal.machine import COMMAND, HOST, Machine, running_machine
from tests.pages import blocks, commands_of

PAGE = "docs/etcd-roles.md"
ETCDCTL = str(Path(sys.executable).with_name("etcdctl"))
PASSWORD = "of-a-test"
SOON = 20
#: Etcd's v2 API takes its time over each password, and a first start writes a lot.
SLOWLY = 90.0


def typed(command: list[str], environment: dict[str, str]) -> str:
    """What a command says at a terminal at which the password is typed whenever asked for."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, environment)
    said = b""
    try:
        while True:
            try:
                chunk = os.read(terminal, 4096)
            except OSError:
                break
            if not chunk:
                break
            said += chunk
            if b"assword" in chunk:
                os.write(terminal, f"{PASSWORD}\n".encode())
    finally:
        os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said.decode()
    return said.decode()


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    """A host whose etcd has the page's users."""
    with running_machine(tmp_path) as made:
        environment = {
            **os.environ,
            "ETCDCTL_API": "2",
            "ETCDCTL_ENDPOINTS": made.etcd,
            "ETCDCTL_ENDPOINT": made.etcd,
        }
        for block in blocks(PAGE, "sh"):
            for command in commands_of(block):
                program, *words = shlex.split(command)
                assert program == "etcdctl"
                typed([ETCDCTL, *words], environment)
        yield made


def store_of(machine: Machine, user: str, password: str = PASSWORD) -> EtcdDatastore:
    return EtcdDatastore([machine.etcd.replace("://", f"://{user}:{password}@")])


def credentials(machine: Machine, user: str) -> str:
    path = machine.directory / f"{user}.credentials"
    path.write_text(f"{user}:{PASSWORD}")
    path.chmod(0o600)
    return str(path)


def test_an_agent_does_all_its_work_and_nobody_elses(
    machine: Machine, namespace: Callable[[], Namespace]
) -> None:
    as_root = store_of(machine, "root")
    machine.asked_as = machine.etcd.replace("://", f"://root:{PASSWORD}@")
    machine.credentials = {
        "controller": credentials(machine, "controller"),
        "agent": credentials(machine, "agent-host-1"),
    }
    machine.start("controller")
    machine.start("agent")
    task = namespace()
    machine.mesos.pids["a"] = task.pid
    machine.marathon.put("/a", [("a", HOST)], ["one"])

    # It registers, attaches and reports.
    machine.wait_up("a", patience=SLOWLY)
    told = (machine.directory / "agent.log").read_text()
    assert "refuses" not in told

    # It allocates for a container and gives back.
    own = store_of(machine, "agent-host-1")
    assert own.get(LEADER) is not None, "a new host asks who leads before it gives addresses"
    handle = handle_of_container(ContainerId("box"))
    address = Addresses(own).assign(HostName(HOST), handle)
    assert as_root.get(handle_key(handle)) is not None
    assert Addresses(own).release(handle, address)

    # What is another's, or decides who reaches whom, it cannot write.
    for key in FORBIDDEN:
        with pytest.raises(DatastoreRefused):
            own.put(Key(key), "x")
        with pytest.raises(DatastoreRefused):
            own.delete(Key(key))

    # Nobody does anything without saying who he is, and a reader writes nothing.
    with pytest.raises(DatastoreRefused):
        EtcdDatastore([machine.etcd]).get(READY)
    reader = store_of(machine, "reader")
    assert reader.get(READY) is not None
    with pytest.raises(DatastoreRefused):
        reader.put(READY, "false")
    status = subprocess.run(
        [
            *(COMMAND, "status", "--etcd", machine.etcd),
            *("--etcd-credentials", credentials(machine, "reader")),
        ],
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert (status.returncode, status.stderr) == (0, ""), status.stdout


#: Of another host, of the whole cluster, and a host whose name begins alike.
FORBIDDEN = (
    *(f"{HOSTS}/host-2", f"{APPLIED}/host-2", f"{OBJECTIONS}/host-2", f"{HOSTS}/host-10"),
    *(f"{FELIX}/host-2/status", f"{FELIX}/host-10/status", f"{APPLIED}/host-10"),
    *(
        CHAIN,
        CLUSTER_GUID,
        f"{FORGOTTEN}/host-1",
        f"{TASKS}/a",
        LEADER,
        READY,
        "/marathon-calico/v1/cluster",
        "/marathon-calico/v1/hold/tasks",
    ),
    "/calico/v1/host/host-1/workload/mesos/a/endpoint/e",
    *("/calico/v1/policy/profile/one/rules", "/calico/v1/ipam/v4/pool/10.0.0.0-8"),
    *("/calico/ipam/v2/host/host-2/ipv4/block/10.0.0.0-26", "/calico/ipam/v2/handle/a"),
    *("/calico/ipam/v2/config", "/elsewhere"),
)
