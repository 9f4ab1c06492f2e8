"""README's and the pages' commands, as written, on a cluster that one of them started."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.addressing import ipam
from calico.codec import encode_block, encode_host
from calico.keys import block_key, host_key
from calico.model import BootId, HandleId, HostName, HostRecord
from demo.embedded.cluster import Cluster
from demo.embedded.processes import PROJECT
from demo.stories.rest import MarathonApi
from tests.cluster.harness import REFUSED_CODE, START_SECONDS, directory, wait_until
from tests.pages import block_with, blocks, commands_of

PATIENCE = 60.0
COMMANDS = ("up", "down", "env", "exec", "status", "logs", "kill")
#: How README has an operator's command given in the demo's cluster.
INSIDE = ".venv/bin/python -m demo exec master -- "
#: What tells that something is not allowed, or wrong: an address that nobody gives back.
LEAK = ("docs/addresses.md", "marathon-calico ipam check")
DENIED = "marathon-calico why /star-iso/probe-a /star-iso/probe-c:9000"
GONE = HostName("host-3")
ETCD = "http://172.31.80.10:2379"


@dataclass
class Desk:
    """A reader's shell, in a directory that has what commands of the repository's need."""

    path: Path
    environment: Mapping[str, str]
    known: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, code: int = 0, place: Path | None = None) -> str:
        """Give the shell a command as it is; what it printed."""
        done = self.attempt(command, place)
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def until(self, command: str, said: str, code: int = 0) -> None:
        """Give it again and again until it ends so and says this."""
        deadline = time.monotonic() + PATIENCE
        while True:
            done = self.attempt(command)
            if done.returncode == code and re.search(said, done.stdout):
                return
            assert time.monotonic() < deadline, f"{command}\n{done.stdout}\n{done.stderr}"

    def attempt(self, command: str, place: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Give it, however it ends."""
        return subprocess.run(
            [shutil.which("sh") or "/bin/sh", "-eu", "-c", command],
            cwd=place or self.path,
            env={**self.environment, **self.known},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """What README's first commands start, on ports and in a place of the test's own."""
    launch, probes, *_, stop = commands_of(block_with("README.md", "demo/launch-cluster.sh"))
    with directory() as path, directory() as home:
        # The scripts prepare the place that they are in, so they are called in their own.
        for each in (".venv", "charts", "demo"):
            (home / each).symlink_to(PROJECT / each)
        own = {f"MARATHON_CALICO_DEMO_{each.upper()}_DIRECTORY": str(path) for each in COMMANDS}
        free = {"MARATHON_URL": "http://127.0.0.1:0", "STAR_PORT": "0"}
        desk = Desk(home, {**os.environ, **own, **free})
        started = desk.attempt(launch, PROJECT)
        if started.returncode == REFUSED_CODE:
            pytest.skip(started.stderr)
        assert started.returncode == 0, started.stderr
        try:
            cluster = Cluster.attach(path)
            desk.known["MARATHON_URL"] = cluster.marathon_url
            with MarathonApi(cluster.marathon_url) as marathon:
                marathon.wait(START_SECONDS)
                wait_until(lambda: len(marathon.agents()) == 2, "no hosts", START_SECONDS)
            desk.until(f"{INSIDE}marathon-calico get hosts", r"(?s)reporting.*reporting")
            desk.run(probes, place=PROJECT)
            yield desk
        finally:
            desk.run(stop, place=PROJECT)


def test_readmes_first_look_is_as_written(desk: Desk) -> None:
    _, _, *looks, _ = commands_of(block_with("README.md", "demo/launch-cluster.sh"))
    desk.until(f"{INSIDE}marathon-calico get tasks", r"(?s)(IN_SYNC.*){5}")

    for command in looks:
        said = desk.run(command, code=int(DENIED in command))
        assert said, command


def test_the_app_of_readme_gets_its_addresses(desk: Desk) -> None:
    app = next(each for each in blocks("README.md", "json") if "ipAddress" in each)
    (desk.path / "app.json").write_text(app)
    variables, put, look = commands_of(block_with("README.md", "demo env"))

    assert desk.run(f"{variables}; printenv MARATHON_URL").strip() == desk.known["MARATHON_URL"]
    desk.run(put)

    desk.until(look, r"(?s)/shop/web .*IN_SYNC.*/shop/web .*IN_SYNC")


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("README.md", "marathon-calico describe"),
        ("docs/addresses.md", "marathon-calico ipam"),
        ("docs/attaching.md", "marathon-calico describe"),
        ("docs/kernel-truth.md", "marathon-calico diff"),
        ("docs/uninstall.md", "hosts forget"),
    ],
)
def test_operators_commands_answer_as_written(desk: Desk, page: str, words: str) -> None:
    block = block_with(page, words)
    if " forget " in block and page != "README.md":
        record = HostRecord(GONE, IPAddress("172.31.80.13"), BootId("b"), "m", "1")
        store(desk, host_key(GONE), encode_host(record))
    if (page, "marathon-calico ipam check") == LEAK:
        write_leak(desk)
    task = json.loads(desk.run(f"{INSIDE}marathon-calico get tasks -o json"))[0]
    places = {"T": task["task"], "ADDRESS": task["addresses"][0], "HOST": GONE}

    for command in commands_of(block):
        words = " ".join(places.get(each, each) for each in command.split())
        words = words.replace("$ETCD", ETCD).replace("/HOST", "/host-1")
        wrong = command == DENIED or (page, command) == LEAK
        desk.run(INSIDE + words, code=int(wrong))
    # What was not as it should be is mended by what the page says.
    desk.run(f"{INSIDE}marathon-calico ipam check")
    desk.until(f"{INSIDE}marathon-calico status", "IN_SYNC")


def write_leak(desk: Desk) -> None:
    """An address of the host that is off for good, which nobody gives back."""
    empty = ipam.new_block(ipam.block_of(IPAddress("192.168.0.7")), GONE)
    held = ipam.allocate_fixed(empty, HandleId("nobody"), IPAddress("192.168.0.7"))
    store(desk, block_key(held.cidr), encode_block(held))


def store(desk: Desk, key: str, value: str) -> None:
    """Write a key of the cluster's etcd."""
    (desk.path / "value").write_text(value)
    url = f"{ETCD}/v2/keys{key}"
    desk.run(f"{INSIDE}curl -fsS -X PUT {url} --data-urlencode value@{desk.path}/value")


def test_the_stand_ins_page_is_as_written(desk: Desk) -> None:
    status, logs, kill, build = commands_of(block_with("docs/stand-in.md", "demo logs"))

    assert "agent-host-1" in desk.run(status)
    assert "standing by" in desk.run(logs) or "lease won" in desk.run(logs)
    desk.run(kill)
    desk.until(status, "agent-host-1 .*running")
    desk.run(build)
    desk.until('curl -fsS "$MARATHON_URL/v2/deployments"', r"^\[\]$")


def test_the_charts_walk_through_upgrades_and_ends_the_demos_own(desk: Desk) -> None:
    render, put, remove, demo = blocks("charts/README.md", "sh")
    deployments, upgrade = commands_of(block_with("docs/upgrade.md", "/v2/deployments"))

    desk.run(render)
    # Of this cluster, not of the addresses in the example.
    desk.run(demo)
    desk.run(put)
    desk.until(deployments, r"^\[\]$")
    desk.until(f"{INSIDE}marathon-calico status", "tasks       7: 7 IN_SYNC")

    desk.run(upgrade)
    desk.until(deployments, r"^\[\]$")
    assert block_with("docs/uninstall.md", "v2/apps").replace("curl", "curl -fsS") == remove
    desk.run(remove)
    listed = json.loads(desk.run('curl -fsS "$MARATHON_URL/v2/apps"'))["apps"]
    assert not [each for each in listed if each["id"].startswith("/marathon-calico")]
