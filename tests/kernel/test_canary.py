"""A secret that all commands are given is seen nowhere, whatever goes wrong with its servers."""

import base64
import json
import os
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from tests.contract.certificates import Authority, serving
from tests.contract.real_etcd import free_port
from tests.kernel.namespaces import Namespace
from tests.minimal.machine import ADDRESS, COMMAND, HOST, Machine, running_machine
from tests.unit.marathon_client.loopback import Loopback, as_json

#: No word of ours, and with what a URL and a shell would change.
CANARY = "c4nary/:@ $6f1e"
#: One that an operator has put into etcd.
PLANTED = "pl4nted-5d2b"
#: How a value may have one that is called nothing by its key.
PLANTED_FORMS = (
    f'\n{{"password": "{PLANTED}"}}',
    f"password={PLANTED}",
    f"host: h\npassword: {PLANTED}\n",
    f"http://u:p/{PLANTED}@10.0.0.9/",
    f'[{{"name": "DB_PASSWORD", "value": "{PLANTED}"}}]',
)
USER = "bird-0f3c"
TOKEN = "dcos.t0ken-77ab"
PAGES = ("/healthz", "/readyz", "/leader", "/metrics", "/kernel")
PATIENCE = 20.0
COMMANDS = (
    *(["status"], ["status", "-o", "json"], ["diff", "-o", "json"], ["ipam", "check"]),
    *(["hosts", "list", "-o", "yaml"], ["why", "a", "a"]),
)


def forms(key: str) -> set[str]:
    """The ways in which a secret may be written down."""
    pair = f"{USER}:{CANARY}"
    return {
        CANARY,
        quote(CANARY, safe=""),
        json.dumps(CANARY)[1:-1],
        base64.b64encode(pair.encode()).decode().rstrip("="),
        TOKEN,
        *(line for line in key.splitlines() if not line.startswith("-----")),
    }


def new_key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return made.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


@dataclass
class Scene:
    """Where the servers are, and everything that the commands have let out."""

    machine: Machine
    etcd: str
    marathon: str
    mesos: str
    marathon_credentials: str = ""
    key: str = ""
    seen: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.machine.directory

    def secret_file(self, name: str, text: str) -> str:
        path = self.directory / "secrets" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def start(self, name: str) -> None:
        pair = self.secret_file("pair", f"{USER}:{CANARY}\n")
        of_etcd = ["--etcd", self.etcd, "--etcd-credentials", pair]
        arguments = {
            "controller": [
                *("--marathon", self.marathon, "--mesos-master", self.mesos),
                *("--marathon-credentials", self.marathon_credentials or pair),
                *("--mesos-credentials", pair, "--scale-agents", "/agent", "--resync", "1"),
            ],
            "agent": [
                *("--host", HOST, "--address", ADDRESS, "--mesos-agent", self.mesos),
                *("--mesos-credentials", pair, "--socket", str(self.machine.socket)),
                *("--state-dir", str(self.directory / "state")),
            ],
        }[name]
        log = (self.directory / f"{name}.log").open("wb")
        with log, (self.directory / f"{name}.out").open("wb") as out:
            self.processes[name] = subprocess.Popen(
                [
                    *(COMMAND, name, *of_etcd, *arguments, "--log-level", "debug"),
                    *("--listen", "127.0.0.1:0"),
                ],
                stdout=out,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def said(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            logs = "\n".join(f"--- {name}\n{self.said(name)[-2000:]}" for name in self.processes)
            assert time.monotonic() < deadline, f"never came about: {what}\n{logs}"
            time.sleep(0.05)

    def look(self) -> None:
        """Take down all that these processes show to others."""
        for name, process in self.processes.items():
            self.seen[f"argv of {name}"] = Path(f"/proc/{process.pid}/cmdline").read_text()
            announced = (self.directory / f"{name}.out").read_text()
            for path in PAGES:
                self.seen[f"{path} of {name}"] = page(json.loads(announced)["listen"], path)

    def ask(self, commands: Iterable[Sequence[str]]) -> None:
        """Reading commands and diags, with the password in the environment's URL."""
        scheme, _, host = self.etcd.partition("://")
        url = f"{scheme}://{USER}:{quote(CANARY, safe='')}@{host}"
        environment = {"PATH": os.defpath, "MARATHON_CALICO_ETCD": url}
        bundle = self.directory / "diags.tar.gz"
        for words in (
            *commands,
            ["diags", "--output", str(bundle)],
        ):
            done = subprocess.run(
                [COMMAND, *words],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.seen[f"{words}"] = done.stdout + done.stderr
            assert "Traceback" not in done.stderr
        with tarfile.open(bundle) as tar:
            for member in tar.getmembers():
                content = tar.extractfile(member)
                assert content is not None
                self.seen[f"diags: {member.name}"] = content.read().decode()

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def files(self) -> Mapping[str, str]:
        """Logs, state and whatever else was written."""
        return {
            str(path): path.read_bytes().decode(errors="replace")
            for path in self.directory.rglob("*")
            if path.is_file() and {"secrets", "etcd", "certificates"}.isdisjoint(path.parts)
        }


def page(address: str, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        yield made


def refusing(connection: socket.socket, server: Loopback) -> None:
    """Says what it was sent, as a proxy that is being set up does."""
    sent = server.requests[-1].all("Authorization")
    told = {"message": "Invalid username or password.", "sent": sent}
    as_json(told, "401 Unauthorized")(connection, server)


def refuses(stack: ExitStack, _: Path) -> str:
    """A server that lets nobody in."""
    return stack.enter_context(Loopback({}, otherwise=refusing)).url


def is_away(_: ExitStack, __: Path) -> str:
    """Nobody listens there."""
    return f"http://127.0.0.1:{free_port()}"


def is_a_stranger(stack: ExitStack, directory: Path) -> str:
    """A server that cannot prove its name."""
    certified = Authority(directory / "certificates").sign("stranger")
    return stack.enter_context(Loopback({}, serving(certified))).url


Fault = Callable[[ExitStack, Path], str]


def run(scene: Scene, words: Mapping[str, str]) -> None:
    """Both processes, until each has told of what is wrong; then all that they show."""
    for name in words:
        scene.start(name)
    for name, word in words.items():
        scene.wait_for(
            f"{word} of the {name}", lambda name=name, word=word: word in scene.said(name)
        )
    scene.look()


def assert_silent(scene: Scene) -> None:
    """Nothing that was let out has the secret in any form."""
    everything = {**scene.seen, **scene.files()}
    told = [
        (where, form)
        for where, text in everything.items()
        for form in forms(scene.key)
        if form in text
    ]
    assert told == []
    assert any(where.endswith("controller.log") for where in everything)


def test_nothing_is_told_while_all_is_well(
    machine: Machine, namespace: Callable[[], Namespace]
) -> None:
    store = EtcdDatastore([machine.etcd])
    store.put(Key("/calico/v1/config/EtcdPassword"), PLANTED)
    store.put(Key("/calico/bgp/v1/peer"), json.dumps({"password": PLANTED, "ip": "10.0.0.9"}))
    for number, value in enumerate(PLANTED_FORMS):
        store.put(Key(f"/calico/v1/config/Planted{number}"), value)
    task = namespace()
    machine.mesos.pids["a"] = task.pid
    machine.marathon.put("/a", [("a", HOST)], ["one"])
    scene = Scene(machine, machine.etcd, machine.marathon.url, machine.mesos.url)
    try:
        run(scene, {"controller": "lease won", "agent": "agent started"})
        machine.wait_up("a")
        scene.look()
        scene.ask(COMMANDS)
    finally:
        scene.end()
    assert_silent(scene)
    shown = {where: text for where, text in scene.seen.items() if PLANTED in text}
    assert shown == {}
    # What is looked for would be found: the keys are in the bundle, masked.
    keys = json.loads(scene.seen["diags: marathon-calico-diags/etcd/calico.json"])["keys"]
    told = {each["key"]: each["value"] for each in keys}
    assert told["/calico/v1/config/EtcdPassword"] == "***"
    assert json.loads(told["/calico/bgp/v1/peer"]) == {"password": "***", "ip": "10.0.0.9"}
    planted = [told[f"/calico/v1/config/Planted{number}"] for number in range(len(PLANTED_FORMS))]
    assert all("***" in value for value in planted)
    assert "marathon-calico" in scene.seen["diags: marathon-calico-diags/this-host/nftables.json"]
    assert scene.seen["diags: marathon-calico-diags/agents/host-1/healthz"]


FAULTS = [
    pytest.param(refuses, "401", id="it refuses"),
    pytest.param(is_away, "refused", id="nobody listens"),
    pytest.param(is_a_stranger, "certificate", id="it cannot prove its name"),
]


@pytest.mark.parametrize(("fault", "word"), FAULTS)
def test_nothing_is_told_of_a_marathon_that_cannot_be_used(
    machine: Machine, fault: Fault, word: str
) -> None:
    with ExitStack() as stack:
        url = fault(stack, machine.directory)
        scene = Scene(machine, machine.etcd, url, machine.mesos.url)
        stack.callback(scene.end)
        run(scene, {"controller": word})
        scene.seen["etcd"] = stored(machine)
    assert_silent(scene)


@pytest.mark.parametrize(("fault", "word"), FAULTS)
def test_nothing_is_told_of_an_etcd_that_cannot_be_used(
    machine: Machine, fault: Fault, word: str
) -> None:
    with ExitStack() as stack:
        url = fault(stack, machine.directory)
        scene = Scene(machine, url, machine.marathon.url, machine.mesos.url)
        stack.callback(scene.end)
        told = {"401": "refuses these credentials"}.get(word, word)
        run(scene, dict.fromkeys(("controller", "agent"), told))
        scene.ask(COMMANDS[:2])
    assert_silent(scene)


def stored(machine: Machine) -> str:
    """All that is in etcd."""
    store = EtcdDatastore([machine.etcd])
    roots = (Key("/calico"), Key("/marathon-calico"))
    return "\n".join(
        f"{each.key} {each.value}" for root in roots for each in store.list(root).entries
    )


@pytest.mark.parametrize(("fault", "word"), FAULTS)
def test_nothing_is_told_of_a_mesos_that_cannot_be_used(
    machine: Machine, fault: Fault, word: str
) -> None:
    machine.marathon.put("/a", [("a", HOST)], ["one"])
    with ExitStack() as stack:
        url = fault(stack, machine.directory)
        scene = Scene(machine, machine.etcd, machine.marathon.url, url)
        stack.callback(scene.end)
        run(scene, {"controller": "app left alone", "agent": "agent started"})
        scene.wait_for("the agent's word on Mesos", lambda: "Mesos agent at" in stored(machine))
        scene.look()
        scene.seen["etcd"] = stored(machine)
    assert word in scene.said("controller")
    assert_silent(scene)


def test_neither_key_nor_token_of_a_service_account_is_told(machine: Machine) -> None:
    unauthorized = as_json({"message": f"token={TOKEN} is too old"}, "401 Unauthorized")
    paths = ("/v2/apps", "/v2/info", "/v2/leader", "/v2/events", "/v2/apps/agent")
    routes = {"/login": as_json({"token": TOKEN}), **dict.fromkeys(paths, unauthorized)}
    with ExitStack() as stack:
        server = stack.enter_context(Loopback(routes))
        scene = Scene(machine, machine.etcd, server.url, machine.mesos.url, key=new_key())
        account = {"uid": USER, "private_key": scene.key, "login_endpoint": f"{server.url}/login"}
        scene.marathon_credentials = scene.secret_file("account", json.dumps(account))
        stack.callback(scene.end)
        run(scene, {"controller": "401"})
        assert any(f"token={TOKEN}" in each.all("Authorization") for each in server.requests)
    assert_silent(scene)
