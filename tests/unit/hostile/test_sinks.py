"""A text of a user's, and each place at which it might do harm."""

import json
import logging
import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest

from calico.dataplane.changes import CommitTable
from calico.dataplane.nft.library_json import encode_commit
from calico.dataplane.state import HostState
from calico.datastore.api import Key
from calico.keys import profile_key
from calico.model import ProfileId, TaskId
from marathon_client.decode import parse_apps
from marathon_client.models import AppId
from reconciler.cli.printing.render import Answer, Lines, Table, render
from reconciler.logs import JsonFormatter, TextFormatter
from tests.unit.agent.test_reconcile import Agent, Machine
from tests.unit.agent.world import filled_store, put_spec, spec
from tests.unit.controller.cluster import Cluster
from tests.unit.hostile.values import NASTY, TEXT

#: Stands before and after what is tried, so that it can be found again.
MARK = "zq7"
FEW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def controlled(text: str) -> Cluster:
    """A controller that was given an app in which every name is this text."""
    cluster = Cluster()
    cluster.connect()
    port = {"number": 80, "name": text, "protocol": "tcp"}
    evil = {
        "id": f"/{text}",
        "version": text,
        "labels": {text: text, "MARATHON_CALICO_PORTS": text},
        "ipAddress": {
            "groups": [text],
            "labels": {text: text, "ipv4_addrs": text},
            "discovery": {"ports": [port]},
        },
        "tasks": [
            {"id": text, "host": "h1", "state": "TASK_RUNNING", "version": text},
            {"id": "plain", "host": text, "state": text, "version": "v"},
            {"id": "plain.2", "host": "h1", "state": "TASK_RUNNING", "version": "v"},
        ],
    }
    apps, problems = parse_apps(json.dumps({"apps": [evil]}).encode())
    cluster.marathon.current = {AppId(each.id): each for each in apps}
    cluster.marathon.problems = problems
    cluster.connect()
    cluster.after(2)
    return cluster


def kernel(text: str) -> HostState:
    """What an agent made of a store in which texts of operators are this one."""
    machine, store = Machine(), filled_store()
    web = spec(TaskId("web.1"), "192.168.0.1", "a", "b")
    put_spec(store, web)
    machine.start(web)
    rule = {"action": "allow", "src_tag": text, "protocol": "tcp", "dst_ports": [80]}
    put = {
        profile_key(ProfileId("a"), "tags"): [text, "a"],
        profile_key(ProfileId("a"), "labels"): {text: text},
        profile_key(ProfileId("b"), "rules"): {
            "inbound_rules": [rule, {"action": text}],
            "outbound_rules": [{"action": "allow", "log_prefix": text}],
        },
        Key("/calico/v1/policy/tier/default/policy/strict"): {"selector": text, "order": 1},
        Key("/calico/v1/host/h1/endpoint/eth9"): {"name": text, "labels": {text: text}},
    }
    for key, value in put.items():
        store.put(key, json.dumps(value))
    agent = Agent(machine, store)
    agent.list()
    agent.settle_without_store()
    return machine.kernel


def in_keys(text: str) -> str:
    store = controlled(text).store
    roots = (Key("/calico"), Key("/marathon-calico"))
    return "\n".join(each.key for root in roots for each in store.list(root).entries)


def in_rules(text: str) -> str:
    state = kernel(text)
    commit = CommitTable(chains=tuple(state.chains.values()), sets=tuple(state.sets.values()))
    return "\n".join(sorted(set(_strings(json.loads(encode_commit(commit))))))


def in_aliases(text: str) -> str:
    links = kernel(text).links
    return "\n".join(f"{name}\n{link.alias}" for name, link in links.items())


def in_a_log(text: str) -> str:
    record = logging.LogRecord("x", logging.INFO, "x", 1, f"told {text}", None, None)
    record.__dict__["app"] = text
    return f"{TextFormatter().format(record)}\n{JsonFormatter().format(record)}"


def on_a_terminal(text: str) -> str:
    answer = Answer(text, (Lines((text,)), Table(("a", "b"), ((text, text),))))
    forms = (render(answer, form, width=None, colour=False) for form in ("table", "json", "yaml"))
    return "\n".join(forms)


def in_metrics(text: str) -> str:
    cluster = controlled(text)
    return generate_latest(cluster.loop._metrics.registry).decode()


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


#: Each sink, and what a line of it may look like.
SINKS = [
    pytest.param(in_keys, r"(/[A-Za-z0-9_.$:<>,@+=~-]+)+", id="key"),
    pytest.param(in_rules, r"[A-Za-z0-9_.:/@&|!<>=* -]*", id="nftables"),
    pytest.param(in_aliases, r"[A-Za-z0-9_.:/,= -]*", id="link alias"),
    pytest.param(in_a_log, r"[ -~]*|[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]*", id="log"),
    pytest.param(on_a_terminal, None, id="terminal"),
    pytest.param(in_metrics, rf"(?!.*{MARK}).*", id="metrics"),
]


def assert_harmless(sink: Callable[[str], str], line: str | None, text: str) -> None:
    for shown in sink(f"{MARK}{text}{MARK}").split("\n"):
        if line is None:
            assert shown.isprintable(), shown
        else:
            assert re.fullmatch(line, shown), shown


@pytest.mark.parametrize("text", NASTY, ids=ascii)
@pytest.mark.parametrize(("sink", "line"), SINKS)
def test_a_nasty_text_does_no_harm(sink: Callable[[str], str], line: str | None, text: str) -> None:
    assert_harmless(sink, line, text)


@pytest.mark.parametrize(("sink", "line"), SINKS)
@FEW
@given(text=TEXT | st.text(max_size=300))
def test_no_text_does_harm(sink: Callable[[str], str], line: str | None, text: str) -> None:
    assert_harmless(sink, line, text)


def test_what_is_looked_for_would_be_found() -> None:
    """A sink that lets everything through fails."""
    for sink in SINKS:
        _, line = sink.values
        with pytest.raises(AssertionError):
            assert_harmless(str, str(line) if line else None, "\x1b[2J")
