"""Calls of plugins with any input: refused in the caller's own form, or harmless."""

import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.attach.api import AttachRefused
from reconciler.attach.calls.cni import CniCalls
from reconciler.attach.calls.netmodules import answer_netmodules
from reconciler.attach.memory import MemoryAttacher
from tests.contract.attach.plugin_process import run_plugin
from tests.unit.attach.cni_calls import asked, call, labels
from tests.unit.hostile.values import NASTY, WRITTEN, damaged, json_values

CALLS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = ("command", "args", "name", "type", "cniVersion", "prevResult", "network_info", "labels")
CONFIG = asked(**{"groups": ["web"], "labels": labels(("ipv4_addrs", "192.168.0.9"))})
RPC = {
    "command": "isolate",
    "args": {
        "hostname": "h",
        "container_id": "c",
        "pid": 1,
        "ipv4_addrs": ["192.168.0.9"],
        "ipv6_addrs": [],
        "netgroups": ["web"],
        "labels": [{"key": "a", "value": "b"}],
    },
}


@CALLS
@given(
    command=st.sampled_from(["ADD", "DEL", "CHECK", "VERSION"]) | WRITTEN,
    config=damaged(json.dumps(CONFIG)),
    container=WRITTEN | st.just("5baff64c"),
)
def test_any_call_of_cni_is_answered_in_its_form(command: str, config: str, container: str) -> None:
    code, answer = call(MemoryAttacher(), command, config or "x", CNI_CONTAINERID=container)
    assert code in (0, 1)
    if code:
        assert isinstance(answer["code"], int)
        assert answer["msg"].isprintable()


@CALLS
@given(request=json_values("environment", "input", *NAMES))
def test_any_request_to_the_agents_socket_is_answered(request: object) -> None:
    for text in (json.dumps({"environment": {}, "input": request}), json.dumps(request)):
        value = json.loads(text)
        if isinstance(value, dict):
            # What is no call at all is answered by whoever reads the socket.
            with suppress(AttachRefused):
                CniCalls(frozenset()).answer(value, MemoryAttacher(), -1)


@CALLS
@given(text=damaged(json.dumps(RPC)) | damaged(json.dumps({**RPC, "command": "allocate"})))
def test_any_call_of_net_modules_is_answered_in_its_form(text: str) -> None:
    code, printed, *_ = answer_netmodules({"input": text}, MemoryAttacher(), -1)
    assert code in (0, 1)
    answer = json.loads(printed)
    assert "error" in answer


@pytest.mark.parametrize("role", ["cni", "netmodules"])
@pytest.mark.parametrize(
    "given_input",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe\x00", id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="a bottomless nest"),
        pytest.param(b"{" * 300_000, id="endless"),
        pytest.param(json.dumps({"cniVersion": list(NASTY)}).encode(), id="nasty texts"),
    ],
)
def test_a_plugin_without_an_agent_says_so_in_one_line(
    tmp_path: Path, role: str, given_input: bytes
) -> None:
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c\x1b[2J",
        "CNI_NETNS": "/proc/self/ns/net",
    }
    done = run_plugin(role, tmp_path / "no.sock", given_input, environment)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert all(line.isprintable() for line in done.err.splitlines())
    assert isinstance(json.loads(done.out), dict)
    assert sys.getsizeof(done.out) < 10_000
