"""Two real controllers on one etcd and one Marathon, each behind a door of its own."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netaddr import IPAddress

from calico.codec import decode_chain, decode_leader, encode_applied, encode_host
from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from calico.keys import (
    CHAIN,
    CLUSTER_GUID,
    ENDPOINTS,
    LEADER,
    PROFILES,
    applied_key,
    host_key,
    parse_endpoint_key,
)
from calico.model import AppliedRecord, BootId, HostName, HostRecord
from tests.contract.real_etcd import running_etcd
from tests.faults.door import WRITES, Door, Fault
from tests.faults.proxy import Proxy, proxied
from tests.minimal.marathon import MinimalMarathon

COMMAND = str(Path(sys.executable).parent / "marathon-calico")
HOST, BOOT = HostName("host-1"), BootId("boot")
PATIENCE = 20.0
RESYNC = 2.0


@dataclass
class Controller:
    """One process; `door` is its way to etcd."""

    name: str
    directory: Path
    door: Door
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """Everything that it has told."""
        return (self.directory / f"{self.name}.log").read_text()

    @property
    def address(self) -> str:
        """Where its pages are, once it says so."""
        said = (self.directory / f"{self.name}.out").read_text()
        return str(json.loads(said)["listen"]) if said.endswith("\n") else ""

    def page(self) -> Mapping[str, Any]:
        """What it says of its leadership; nothing if it does not answer."""
        if not self.address:
            return {}
        try:
            with urllib.request.urlopen(f"http://{self.address}/leader", timeout=2) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                return {}
        except OSError:
            return {}

    @property
    def token(self) -> int | None:
        """Its token while it leads."""
        token = self.page().get("token")
        return None if token is None else int(token)

    @property
    def logged_token(self) -> int:
        """The token that its log tells."""
        (found,) = re.findall(r"lease won.*?token=(\d+)", self.log)
        return int(found)

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self.process.send_signal(number)

    def wrote(self, since: int = 0) -> list[tuple[str, str]]:
        """What it wrote of its work, after so many answers: the lease is not counted."""
        seen = self.door.seen[since:]
        return [(method, path) for method, path in seen if method in WRITES and LEADER not in path]


@dataclass
class Pair:
    """Two controllers and what is around them."""

    directory: Path
    etcd: str
    marathon: MinimalMarathon
    proxy: Proxy
    one: Controller
    other: Controller

    def tasks(self) -> set[str]:
        """The tasks that have an endpoint."""
        listed = EtcdDatastore([self.etcd]).list(ENDPOINTS).entries
        parsed = (parse_endpoint_key(stored.key) for stored in listed)
        return {str(endpoint.workload) for endpoint in parsed if endpoint is not None}

    def everything(self) -> dict[Key, str]:
        """What is in etcd, but for who leads and the mark that counts on."""
        store = EtcdDatastore([self.etcd])
        listed = (
            *store.list(Key("/calico")).entries,
            *store.list(Key("/marathon-calico")).entries,
        )
        return {stored.key: stored.value for stored in listed if stored.key != LEADER}

    @property
    def holder(self) -> str:
        """Who holds the lease, as etcd has it; empty while nobody does."""
        stored = EtcdDatastore([self.etcd]).get(LEADER)
        return "" if stored is None else decode_leader(stored.value).holder

    @property
    def takeovers(self) -> int:
        """How often somebody took the store over."""
        chain = EtcdDatastore([self.etcd]).get(CHAIN)
        return decode_chain(chain.value)[-1].number if chain else 0

    def follow(self) -> None:
        """Have the host say that it has seen the newest takeover, as its agent does.

        Else whoever leads waits for it before it gives an address.
        """
        store = EtcdDatastore([self.etcd])
        guid = store.get(CLUSTER_GUID)
        told = AppliedRecord(
            HOST, BOOT, 0, guid=guid.value if guid else "", takeover=self.takeovers
        )
        store.put(applied_key(HOST), encode_applied(told))

    def settle(self) -> dict[Key, str]:
        """What is in etcd once nothing has changed for more than a resync.

        Of a profile the labels come last, when there is nothing else to do.
        """
        while True:
            before = self.everything()
            time.sleep(RESYNC * 1.5)
            profiles = {key.rpartition("/")[0] for key in before if key.startswith(PROFILES)}
            if before == self.everything() and all(f"{each}/labels" in before for each in profiles):
                return before

    def changed(self, before: Mapping[Key, str]) -> dict[Key, tuple[str | None, str | None]]:
        """What is in etcd another than it was, and how, by its key."""
        now = self.everything()
        return {
            key: (before.get(key), now.get(key))
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        }

    def switch(self, who: Controller, fault: Fault) -> None:
        """Have this happen to what one of them says to etcd."""
        self.proxy.switch(who.name, fault)

    def until(self, what: str, holds: Callable[[], bool], patience: float = PATIENCE) -> float:
        """Seconds until something holds; the logs are shown if it never does."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < patience:
            if holds():
                return passed
            time.sleep(0.01)
        logs = "\n".join(f"--- {each.name}\n{each.log[-3000:]}" for each in (self.one, self.other))
        raise AssertionError(f"not within {patience:.0f} s: {what}\n{logs}")


@contextmanager
def two_controllers(directory: Path) -> Iterator[Pair]:
    """`one` leads and `other` stands by; there is a host, and no app yet."""
    with ExitStack() as stack:
        etcd = stack.enter_context(running_etcd(directory / "etcd"))
        host = HostRecord(HOST, IPAddress("172.31.0.1"), BOOT, "machine", "1")
        EtcdDatastore([etcd]).put(host_key(host.name), encode_host(host))
        marathon = stack.enter_context(MinimalMarathon())
        proxy = stack.enter_context(proxied({"one": etcd, "other": etcd}))
        one = stack.enter_context(_controller("one", directory, proxy, marathon))
        other = _controller("other", directory, proxy, marathon)
        made = Pair(directory, etcd, marathon, proxy, one, one)
        made.follow()
        made.until("the first leads", lambda: one.token is not None)
        made.other = stack.enter_context(other)
        made.until("the other stands by", lambda: "another controller leads" in made.other.log)
        yield made


@contextmanager
def _controller(
    name: str, directory: Path, proxy: Proxy, marathon: MinimalMarathon
) -> Iterator[Controller]:
    door = proxy.doors[name]
    command = [
        *(COMMAND, "controller", "--etcd", door.url, "--marathon", marathon.url),
        *("--listen", "127.0.0.1:0", "--pool", "10.77.0.0/24", "--resync", str(RESYNC)),
        *("--allow-from", "127.0.0.0/8"),
    ]
    with (
        (directory / f"{name}.log").open("wb") as log,
        (directory / f"{name}.out").open("wb") as out,
    ):
        process = subprocess.Popen(command, stdout=out, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield Controller(name, directory, door, process)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
