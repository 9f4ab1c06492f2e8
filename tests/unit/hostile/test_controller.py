"""Whole passes of a controller over what it should never have been given."""

import json
import re
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calico.datastore.api import Key
from calico.errors import InvalidName
from calico.keys import CHAIN, check_key, parse_endpoint_key
from calico.model import TaskVerdict
from marathon_client.decode import parse_apps
from marathon_client.models import AppId
from tests.unit.controller.cluster import Cluster
from tests.unit.hostile.values import TEXT, damaged, json_values
from tests.unit.reconciler.apps import app, network, task

ROOTS = (Key("/calico"), Key("/marathon-calico"))
WHOLE = re.compile(r"(/[A-Za-z0-9_.$:<>,-]+)+")
GOOD = app(task("good", app="/good"), name="/good", net=network("g"))
PASSES = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def running() -> Cluster:
    """Two tasks of one app, all as it should be."""
    cluster = Cluster()
    cluster.connect()
    cluster.run(app(task("t0"), task("t1", host="h2"), net=network("g")))
    cluster.applied()
    return cluster


def keys(cluster: Cluster) -> dict[Key, str]:
    return {each.key: each.value for root in ROOTS for each in cluster.store.list(root).entries}


def endpoints(cluster: Cluster) -> set[Key]:
    return {key for key in keys(cluster) if parse_endpoint_key(key)}


#: Of the chain of takeovers agents say how far they have seen it, also those of these tests.
KEYS = sorted(keys(running()).keys() - {CHAIN})


@PASSES
@given(key=st.sampled_from(KEYS), data=st.data())
def test_a_damaged_value_ends_nothing_and_costs_nobody_else_the_network(
    key: Key, data: st.DataObject
) -> None:
    cluster = running()
    before = keys(cluster)
    cluster.store.put(key, data.draw(damaged(before[key])))

    cluster.after(70)

    assert endpoints(cluster) >= {each for each in before if parse_endpoint_key(each)}

    # Once it is whole again, everything goes on.
    cluster.store.put(key, before[key])
    cluster.tell_hosts()
    cluster.run(GOOD)
    cluster.after(70)
    assert cluster.records()["good"].verdict is TaskVerdict.ACCEPTED
    assert len(endpoints(cluster)) == 3


APP = {
    "id": "/evil",
    "version": "2016-08-05T12:30:00.000Z",
    "labels": {"MARATHON_CALICO_PORTS": "declared"},
    "ipAddress": {
        "groups": ["web"],
        "labels": {"ipv4_addrs": "192.168.0.9"},
        "discovery": {"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]},
    },
    "tasks": [{"id": "evil.1", "host": "h1", "state": "TASK_RUNNING", "version": "v"}],
}


@st.composite
def hostile_apps(draw: st.DrawFn) -> dict[str, object]:
    """An app with one or two of its parts as nobody would write them."""
    made = json.loads(json.dumps(APP))
    for _ in range(draw(st.integers(1, 2))):
        part = draw(
            st.sampled_from(
                [
                    made,
                    made["ipAddress"],
                    made["ipAddress"]["discovery"],
                    made["labels"],
                    made["tasks"][0],
                ]
            )
        )
        name = draw(st.sampled_from(sorted(part)) if part else TEXT)
        part[name] = draw(json_values("groups", "number", "protocol", "id", "host"))
        if not all(isinstance(made.get(each), dict) for each in ("ipAddress", "labels")):
            break
        if not isinstance(made["ipAddress"].get("discovery"), dict):
            break
        if not made["tasks"] or not isinstance(made["tasks"], list):
            break
        if not isinstance(made["tasks"][0], dict):
            break
    return dict(made)


@PASSES
@given(hostile_apps())
def test_a_hostile_app_writes_no_odd_key_and_holds_up_no_other(evil: dict[str, object]) -> None:
    cluster = running()
    apps, problems = parse_apps(json.dumps({"apps": [evil]}).encode())
    for each in apps:
        cluster.marathon.current[AppId(each.id)] = each
    cluster.marathon.problems = problems
    cluster.marathon.put(GOOD)

    cluster.connect()
    cluster.after(3)

    assert cluster.records()["good"].verdict is TaskVerdict.ACCEPTED
    for key in keys(cluster):
        assert WHOLE.fullmatch(key), key
        with suppress(InvalidName):
            check_key(key)
            continue
        raise AssertionError(f"{key} passes no gate")
