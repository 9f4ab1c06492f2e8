"""The real agent: a process of its own, real etcd, real namespaces, real packets."""

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import (
    decode_applied,
    decode_host,
    decode_status,
    encode_endpoint,
    encode_host,
)
from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from calico.keys import (
    applied_key,
    endpoint_key,
    felix_status_key,
    host_key,
    status_key,
)
from calico.model import BootId, EndpointSpec, EndpointState, HostName, HostRecord
from reconciler.agent.reporting.registration import ALIVE_TTL, read_machine_id, render_alive
from tests.dataplane_worlds import spec
from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening
from tests.kernel.stores import first_store
from tests.minimal.machine import ADDRESS, COMMAND, HOST, Machine, running_machine

ANY = IPAddress("0.0.0.0")
PORT, CLOSED_PORT = 9000, 9999
Start = Callable[[EndpointSpec], Namespace]


def wanted(task: str, number: int, name: str) -> EndpointSpec:
    """A task of one group, on this machine."""
    return spec(task, name, f"app-{name}", addresses=[f"10.9.0.{number}"], host=HostName(HOST))


A, B, C = wanted("a.1", 1, "red"), wanted("b.1", 2, "red"), wanted("c.1", 3, "blue")


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        yield made


@pytest.fixture
def store(machine: Machine) -> EtcdDatastore:
    return first_store(machine.etcd, PORT, "red", "blue")


@pytest.fixture
def start(machine: Machine, namespace: Callable[[], Namespace]) -> Start:
    """Starts a task that its Mesos agent knows of."""

    def started(wanted: EndpointSpec) -> Namespace:
        made = namespace()
        machine.mesos.pids[wanted.id.workload] = made.pid
        return made

    return started


def put_spec(store: EtcdDatastore, wanted: EndpointSpec) -> None:
    store.put(endpoint_key(wanted.id), encode_endpoint(wanted))


def told(store: EtcdDatastore, key: Key) -> str:
    stored = store.get(key)
    return "" if stored is None else stored.value


def restart(machine: Machine) -> None:
    """Start the agent anew and wait until it runs."""
    log = machine.directory / "agent.log"
    before = log.read_text().count("agent started")
    machine.start("agent")
    machine.wait_for("a start", lambda: log.read_text().count("agent started") > before)


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def test_tasks_of_one_group_reach_each_other_and_no_other(
    machine: Machine, store: EtcdDatastore, start: Start
) -> None:
    tasks = [start(each) for each in (A, B, C)]
    for each in (A, B, C):
        put_spec(store, each)

    machine.start("agent")

    machine.wait_up("a.1", "b.1", "c.1")
    a, b, c = tasks
    with ExitStack() as stack:
        for task in tasks:
            for port in (PORT, CLOSED_PORT):
                stack.enter_context(listening(task, ANY, port))
        assert connects(a, B.addresses[0], PORT)
        assert connects(b, A.addresses[0], PORT)
        assert not connects(a, B.addresses[0], CLOSED_PORT)
        assert not connects(c, A.addresses[0], PORT)
        assert not connects(a, C.addresses[0], PORT)


def test_a_task_comes_waits_for_its_namespace_and_goes(
    machine: Machine, store: EtcdDatastore, start: Start
) -> None:
    machine.start("agent")
    machine.wait_for("a sign of life", lambda: told(store, felix_status_key(HostName(HOST))) != "")
    put_spec(store, A)
    machine.wait_for("a status", lambda: told(store, status_key(A.id)) != "")
    status = decode_status(told(store, status_key(A.id)))
    assert status.state is EndpointState.DOWN
    assert status.reason.startswith("waiting for network namespace")

    start(A)
    machine.wait_up("a.1")
    assert A.interface in interfaces()

    store.delete(endpoint_key(A.id))
    machine.wait_for("its link to go", lambda: A.interface not in interfaces())
    machine.wait_for("its status to go", lambda: told(store, status_key(A.id)) == "")


def test_an_ended_task_is_proven_gone(machine: Machine, store: EtcdDatastore, start: Start) -> None:
    put_spec(store, A)
    task = start(A)
    machine.start("agent")
    machine.wait_up("a.1")

    task.keeper.kill()
    task.keeper.wait()

    key = applied_key(HostName(HOST))
    machine.wait_for(
        "the proof", lambda: decode_applied(HostName(HOST), told(store, key)).gone == ("a.1",)
    )


def test_a_host_is_registered_with_its_address(machine: Machine, store: EtcdDatastore) -> None:
    machine.start("agent")
    machine.wait_for("a registration", lambda: told(store, host_key(HostName(HOST))) != "")

    record = decode_host(HostName(HOST), told(store, host_key(HostName(HOST))))

    assert record.address == IPAddress(ADDRESS)
    assert record.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_kill_9_and_sigterm_leave_the_kernel_as_it_is(
    machine: Machine, store: EtcdDatastore, start: Start
) -> None:
    a, b = start(A), start(B)
    for each in (A, B):
        put_spec(store, each)
    machine.start("agent")
    machine.wait_up("a.1", "b.1")

    with listening(b, ANY, PORT), listening(b, ANY, CLOSED_PORT):
        for number in (signal.SIGKILL, signal.SIGTERM):
            process = machine.processes.pop("agent")
            process.send_signal(number)
            code = process.wait(10)
            assert code == (0 if number is signal.SIGTERM else -number)
            assert connects(a, B.addresses[0], PORT)
            assert not connects(a, B.addresses[0], CLOSED_PORT)
            restart(machine)


def test_a_second_agent_is_refused_in_one_line(machine: Machine, store: EtcdDatastore) -> None:
    machine.start("agent")
    machine.wait_for("a registration", lambda: told(store, host_key(HostName(HOST))) != "")

    second = subprocess.run(
        [COMMAND, "agent", "--etcd", machine.etcd, "--listen", "127.0.0.1:0", "--log-level",
         "error", "--host", "other", "--state-dir", str(machine.directory / "other")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )  # fmt: skip

    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.count("\n") == 1
    assert "another marathon-calico agent" in second.stderr


@pytest.mark.skipif(not read_machine_id(), reason="this machine has no /etc/machine-id")
def test_a_machine_whose_name_is_another_ones_is_refused_in_one_line(
    machine: Machine, store: EtcdDatastore, start: Start
) -> None:
    host = HostName(HOST)
    start(A)
    put_spec(store, A)
    address, boot = IPAddress("172.31.99.77"), BootId("of-the-other")
    other = encode_host(HostRecord(host, address, boot, "the-other", "1"))
    store.put(host_key(host), other)
    alive = render_alive(datetime.now(UTC), 1.0, first=False, boot_id=boot)
    written = store.put(felix_status_key(host), alive, ttl=ALIVE_TTL)

    machine.start("agent")
    code = machine.processes["agent"].wait(20)

    log = (machine.directory / "agent.log").read_text()
    assert code == 2
    said = f"{HOST} is the name of another machine, whose agent at {address} was alive"
    assert said in log.splitlines()[-1]
    assert "kernel changed" not in log
    assert store.list(Key("/calico")).revision == written
    assert A.interface not in interfaces()


def test_pages_that_cannot_be_served_are_told_in_one_line(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"

        agent = subprocess.run(
            [COMMAND, "agent", "--etcd", machine.etcd, "--listen", place, "--log-level", "error",
             "--host", HOST, "--address", ADDRESS, "--state-dir", str(machine.directory / "state")],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )  # fmt: skip

    assert (agent.returncode, agent.stdout) == (2, "")
    assert agent.stderr == (
        f"marathon-calico agent: cannot listen on {place}: Address already in use\n"
    )


def test_its_pages_say_that_it_is_ready_and_what_it_did(
    machine: Machine, store: EtcdDatastore, start: Start
) -> None:
    put_spec(store, A)
    start(A)
    machine.start("agent")
    machine.wait_up("a.1")
    log = (machine.directory / "agent.log").read_text()
    line = next(line for line in log.splitlines() if line.startswith("{"))
    url = f"http://{json.loads(line)['listen']}"

    def page(path: str) -> str:
        with urllib.request.urlopen(url + path, timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    assert json.loads(page("/healthz"))["ok"] is True
    assert json.loads(page("/readyz"))["source"] == "datastore"
    metrics = page("/metrics")
    assert 'marathon_calico_agent_endpoints{status="up"} 1.0' in metrics
    assert 'marathon_calico_agent_changes_total{kind="AttachTask"} 1.0' in metrics


def test_an_agent_restarted_without_etcd_keeps_what_was_allowed(
    machine: Machine, store: EtcdDatastore, start: Start
) -> None:
    a, b = start(A), start(B)
    for each in (A, B):
        put_spec(store, each)
    machine.start("agent")
    machine.wait_up("a.1", "b.1")
    saved = machine.directory / "state" / "state"
    machine.wait_for("the state file", lambda: saved.exists() and b"b.1" in saved.read_bytes())
    machine.kill("agent")

    etcd, machine.etcd = machine.etcd, "http://127.0.0.1:9"
    restart(machine)

    log = machine.directory / "agent.log"
    machine.wait_for("the loss", lambda: "datastore lost" in log.read_text())
    with listening(b, ANY, PORT), listening(b, ANY, CLOSED_PORT):
        assert connects(a, B.addresses[0], PORT)
        assert not connects(a, B.addresses[0], CLOSED_PORT)
    machine.etcd = etcd


def test_etcd_that_does_not_answer_is_one_line_and_never_a_traceback(machine: Machine) -> None:
    machine.etcd = "http://127.0.0.1:9"
    log = machine.directory / "agent.log"
    log.touch()
    restart(machine)
    machine.wait_for("the report", lambda: "report not delivered" in log.read_text())
    machine.wait_for("the loss", lambda: "datastore lost" in log.read_text())

    text = log.read_text()
    assert text.count("datastore lost") == 1
    assert "http://127.0.0.1:9" in text
    assert "Traceback" not in text
