"""The plugins as programs, against the agent's real socket and against none."""

import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from netaddr import IPNetwork

from calico.model import ContainerId
from reconciler.attach.calls.cni import CniCalls
from reconciler.attach.calls.netmodules import answer_netmodules
from reconciler.attach.memory import MemoryAttacher
from reconciler.attach.plugin import LARGEST, WAIT
from reconciler.attach.server import AttachServer
from tests.contract.attach.plugin_process import CONFIG, CONTAINER, Done, run_cni, run_plugin

POOL = IPNetwork("192.168.7.0/26")
NETWORKS = frozenset({"calico"})
UID = "0cd47986-24ad-4c00-b9d3-5db9e5c02028"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


@pytest.fixture
def attacher() -> MemoryAttacher:
    return MemoryAttacher([POOL])


@pytest.fixture
def agent(path: Path, attacher: MemoryAttacher) -> Iterator[Path]:
    with _serving(path, attacher):
        yield path


@contextmanager
def _serving(path: Path, attacher: MemoryAttacher) -> Iterator[None]:
    translators = {"cni": CniCalls(NETWORKS).answer, "netmodules": answer_netmodules}
    with AttachServer(path, attacher, translators):
        yield


def _rpc(path: Path, command: str, **args: object) -> Done:
    return run_plugin("netmodules", path, json.dumps({"command": command, "args": args}))


def test_a_container_has_its_network_from_add_to_del(agent: Path, attacher: MemoryAttacher) -> None:
    added = run_cni(agent, "ADD")

    has = attacher.known[ContainerId(CONTAINER)]
    assert (added.code, added.err) == (0, "")
    assert added.answer["ips"][0]["address"] == f"{has.addresses[0]}/32"
    assert added.answer["interfaces"][1] == {
        "name": "eth0",
        "mac": str(has.mac),
        "sandbox": "/proc/self/ns/net",
    }
    previous = json.dumps({**CONFIG, "prevResult": added.answer})
    assert run_cni(agent, "CHECK", previous) == Done(0, "", "")
    assert [run_cni(agent, "DEL", CNI_NETNS=None) for _ in range(2)] == [Done(0, "", "")] * 2
    assert attacher.known == {}


def test_the_namespace_is_the_one_that_the_path_means_to_the_runtime(
    agent: Path, attacher: MemoryAttacher
) -> None:
    run_cni(agent, "ADD")

    other = run_cni(agent, "ADD", CNI_CONTAINERID="other")

    assert (other.code, CONTAINER in other.answer["msg"]) == (1, True)
    assert list(attacher.known) == [CONTAINER]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param("{}", "1.0.0", id="no version"),
        pytest.param("", "1.0.0", id="nothing"),
        pytest.param('{"cniVersion": "0.3.1"}', "0.3.1", id="a version that is known"),
        pytest.param('{ "cniVersion" :"9.0" }', "1.0.0", id="a version to come"),
    ],
)
def test_versions_are_told_without_an_agent(path: Path, given: str, told: str) -> None:
    done = run_cni(path, "VERSION", given, CNI_CONTAINERID=None, CNI_NETNS=None)

    assert (done.code, done.err) == (0, "")
    assert done.answer == {
        "cniVersion": told,
        "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"],
    }


def test_net_modules_calls_end_where_they_began(agent: Path, attacher: MemoryAttacher) -> None:
    address = "192.168.7.0"
    host = {"hostname": "h1"}

    assert _rpc(agent, "allocate", num_ipv4=1, num_ipv6=0, uid=UID, **host).answer == {
        "ipv4": [address],
        "ipv6": [],
        "error": None,
    }
    isolate = {"container_id": CONTAINER, "pid": os.getpid(), "ipv4_addrs": [address]}
    done = Done(0, '{"error": null}\n', "")
    assert _rpc(agent, "isolate", **isolate, **host) == done
    assert _rpc(agent, "release", ips=[address]) == done
    assert _rpc(agent, "cleanup", container_id=CONTAINER, **host) == done
    assert attacher.known == {}


def test_an_error_is_one_line_and_json(agent: Path) -> None:
    refused = run_cni(agent, "ADD", '{"cniVersion": "0.2.0", "name": "net1"}')

    assert refused.code == 1
    assert refused.answer["code"] == 7
    assert refused.answer["cniVersion"] == "0.2.0"
    assert refused.complaint == f"marathon-calico-cni: {refused.answer['msg']}"
    stranger = _rpc(agent, "isolate", hostname="h", container_id="c", pid=1, ipv4_addrs=["1.2.3.4"])
    assert stranger.code == 1
    assert stranger.complaint == f"marathon-calico-netmodules: {stranger.answer['error']}"


def _nobody(path: Path) -> None:
    """There is no socket."""


def _left_behind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


def _hangs(path: Path) -> socket.socket:
    listener = _left_behind(path)
    listener.listen(4)
    return listener


def _hangs_and_is_full(path: Path) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(_left_behind(path)).listen(0)
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(path))
    return stack


ABSENT = [
    pytest.param(_nobody, id="no socket"),
    pytest.param(_left_behind, id="nobody listens"),
    pytest.param(_hangs, id="an agent that hangs"),
    pytest.param(_hangs_and_is_full, id="an agent that hangs with a full queue"),
]


@pytest.mark.parametrize("absent", ABSENT)
def test_without_an_agent_add_is_to_be_tried_later(
    path: Path, absent: Callable[[Path], object]
) -> None:
    held = absent(path)
    started = time.monotonic()

    done = run_cni(path, "ADD", json.dumps({**CONFIG, "cniVersion": "0.2.0"}))

    del held
    assert time.monotonic() - started < WAIT + 2
    assert (done.code, done.answer["code"], done.answer["cniVersion"]) == (1, 11, "0.2.0")
    assert str(path) in done.complaint


@pytest.mark.parametrize("absent", ABSENT[:3])
def test_without_an_agent_del_succeeds_and_says_so(
    path: Path, absent: Callable[[Path], object]
) -> None:
    held = absent(path)

    done = run_cni(path, "DEL", CNI_NETNS=None)

    del held
    assert (done.code, done.out) == (0, "")
    assert str(path) in done.complaint


@pytest.mark.parametrize(
    ("command", "code", "out"),
    [
        pytest.param("allocate", 1, None, id="allocate"),
        pytest.param("isolate", 1, None, id="isolate"),
        pytest.param("release", 0, {"error": None}, id="release"),
        pytest.param("cleanup", 0, {"error": None}, id="cleanup"),
    ],
)
def test_without_an_agent_net_modules_may_take_away_but_not_give(
    path: Path, command: str, code: int, out: object
) -> None:
    done = _rpc(path, command, uid="cleanup")

    assert done.code == code
    assert str(path) in done.complaint
    assert out is None or done.answer == out
    assert out is not None or str(path) in done.answer["error"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param(b"", 6, id="nothing"),
        pytest.param(b"\xff\xfe\x00", 6, id="no text"),
        pytest.param(b"garbage", 6, id="no JSON"),
        pytest.param(b"x" * (LARGEST + 1), 7, id="more than the agent takes"),
        pytest.param(b"\x01" * (LARGEST // 4), 7, id="more than the agent takes when quoted"),
        pytest.param(b'{"cniVersion": "0.2.0", "\\ud800": 1, "name": "x"}', 6, id="half a letter"),
    ],
)
def test_garbage_on_standard_input_is_refused(
    agent: Path, attacher: MemoryAttacher, given: bytes, code: int
) -> None:
    done = run_cni(agent, "ADD", given)

    assert (done.code, done.answer["code"]) == (1, code)
    assert done.complaint
    assert attacher.known == {}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        pytest.param({"CNI_NETNS": "/no/such"}, 4, "CNI_NETNS /no/such: No such file", id="gone"),
        pytest.param({"CNI_NETNS": None}, 4, "CNI_NETNS", id="no namespace"),
        pytest.param({"CNI_COMMAND": None}, 4, "CNI_COMMAND", id="no command"),
        pytest.param({"CNI_CONTAINERID": None}, 4, "CNI_CONTAINERID", id="no container"),
        pytest.param({"CNI_CONTAINERID": "a\nb"}, 4, "CNI_CONTAINERID", id="a line break"),
        pytest.param({"CNI_IFNAME": None}, 4, "CNI_IFNAME", id="no interface"),
        pytest.param({"CNI_IFNAME": "lo"}, 7, "'lo'", id="a name that is taken"),
    ],
)
def test_a_bad_environment_is_refused(
    agent: Path,
    attacher: MemoryAttacher,
    changes: dict[str, str | None],
    code: int,
    words: str,
) -> None:
    done = run_cni(agent, "ADD", **changes)

    assert (done.code, done.answer["code"]) == (1, code), done
    assert words in done.complaint
    assert attacher.known == {}


def test_an_environment_that_is_no_text_is_refused(agent: Path) -> None:
    done = run_cni(agent, "ADD", CNI_CONTAINERID=os.fsdecode(b"\xff\xfe"))

    assert (done.code, done.answer["code"]) == (1, 4)


def test_the_namespace_of_the_host_is_refused(path: Path) -> None:
    attacher = MemoryAttacher([POOL], host=[os.stat("/proc/self/ns/net").st_ino])
    with _serving(path, attacher):
        done = run_cni(path, "ADD")

    assert (done.code, "that of the host" in done.complaint) == (1, True)
    assert attacher.known == {}


def test_a_full_pool_is_told(path: Path) -> None:
    attacher = MemoryAttacher([IPNetwork("192.168.7.1/32")])
    with _serving(path, attacher):
        run_cni(path, "ADD")
        done = run_cni(path, "ADD", CNI_CONTAINERID="other", CNI_NETNS="/")

    assert (done.code, "no address is free" in done.complaint) == (1, True)
    assert list(attacher.known) == [CONTAINER]


def test_an_answer_that_breaks_off_is_no_success(path: Path) -> None:
    listener = _hangs(path)
    with ExitStack() as stack:
        stack.enter_context(listener)
        pid = os.fork()
        if pid == 0:
            os.close(listener.accept()[0].detach())
            os._exit(0)
        stack.callback(os.waitpid, pid, 0)
        done = run_cni(path, "ADD")

    assert (done.code, done.answer["code"]) == (1, 11)
    assert done.complaint


def test_the_socket_of_the_variable_is_asked(path: Path, agent: Path) -> None:
    done = run_plugin(
        "cni",
        Path(),
        json.dumps(CONFIG),
        {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": CONTAINER,
            "CNI_NETNS": "/proc/self/ns/net",
            "CNI_IFNAME": "eth0",
            "MARATHON_CALICO_AGENT_SOCKET": str(agent),
        },
    )

    assert done.code == 0
    assert stat.S_ISSOCK(agent.stat().st_mode)
