"""The agents' app follows the number of Mesos agents, over real HTTP."""

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from charts import render_app
from demo.marathon import MemoryAgent, StandIn
from demo.marathon.agents import AgentUnavailable
from demo.mesos.records import TaskReport
from marathon_client.errors import MarathonError, MarathonRejected
from marathon_client.models import AppId
from marathon_client.scaling import AppScale, ScalingClient
from reconciler.controller.marathon.agents_scaler import AgentsScaler
from reconciler.controller.metrics import ControllerMetrics
from reconciler.core.scaling import CHANGE_EVERY, FEWER_AFTER
from reconciler.runtime.clock import ManualClock
from tests.contract.real_etcd import running_etcd
from tests.contract.stand_in.stand_in_world import RawStream
from tests.unit.marathon_client.loopback import Loopback, as_json, in_turn, reply

APP = AppId("/net/agent")
SOON = 5
BODY = {
    "id": APP,
    "cmd": "sleep 1000",
    "instances": 2,
    "constraints": [["hostname", "UNIQUE"]],
    "cpus": 0.1,
    "mem": 16,
    "upgradeStrategy": {"minimumHealthCapacity": 0.25, "maximumOverCapacity": 0},
}


class Host(MemoryAgent):
    """A host that can be switched off."""

    def __init__(self, *, on: bool = True) -> None:
        super().__init__()
        self._on = threading.Event()
        if on:
            self._on.set()

    def switch(self, *, on: bool) -> None:
        """From now on it answers, or does not."""
        (self._on.set if on else self._on.clear)()

    def tasks(self, after: int, timeout: float) -> TaskReport:
        """See MesosAgent."""
        if not self._on.is_set():
            raise AgentUnavailable("it is off")
        return super().tasks(after, min(timeout, 0.1))


@dataclass
class World:
    """Marathon, its hosts, and a scaler that looks when it is told to."""

    marathon: StandIn
    hosts: dict[str, Host]
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: ControllerMetrics = field(default_factory=ControllerMetrics)
    leads: bool = True

    def __post_init__(self) -> None:
        client = ScalingClient([self.marathon.url], [self.marathon.url])
        self.scaler = AgentsScaler(APP, client, lambda: self.leads, self.clock, self.metrics)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request, which must succeed."""
        answer = requests.request(method, self.marathon.url + path, json=body, timeout=SOON)
        assert answer.ok, answer.text
        return answer.json()

    def instances(self) -> int:
        """What Marathon has."""
        count: int = self.call("GET", f"/v2/apps{APP}")["app"]["instances"]
        return count

    def deploy(self, body: object = None) -> None:
        """The app, and its deployment awaited."""
        with RawStream(self.marathon.url) as stream:
            self.call("PUT", f"/v2/apps{APP}", body or BODY)
            stream.event("deployment_success")

    def wait_for_agents(self, count: int) -> None:
        """Until the master knows so many."""
        while len(self.call("GET", "/slaves")["slaves"]) != count:
            threading.Event().wait(0.02)

    def wait_until_deployed(self) -> None:
        """Until no deployment is left."""
        while self.call("GET", "/v2/deployments"):
            threading.Event().wait(0.02)

    def metric(self, name: str, **labels: str) -> float:
        """One of the controller's figures."""
        value = self.metrics.registry.get_sample_value(f"marathon_calico_controller_{name}", labels)
        return value or 0.0


@pytest.fixture
def world() -> Iterator[World]:
    """Two hosts that are on, and a third that is not yet."""
    hosts = {"host-1": Host(), "host-2": Host(), "host-3": Host(on=False)}
    with StandIn(agents=hosts) as marathon:
        made = World(marathon, hosts)
        made.wait_for_agents(2)
        made.deploy()
        yield made


def test_a_new_host_gets_its_agent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.scaler.look()
    assert world.instances() == 2
    world.hosts["host-3"].switch(on=True)
    world.wait_for_agents(3)
    world.scaler.look()
    assert world.instances() == 3
    assert world.metric("mesos_agents") == 3
    assert world.metric("agents_scalings_total", direction="up") == 1
    assert "agents' app scaled" in caplog.messages
    world.wait_until_deployed()
    tasks = world.call("GET", f"/v2/apps{APP}/tasks")["tasks"]
    assert {task["host"] for task in tasks} == {"host-1", "host-2", "host-3"}


def test_to_scale_restarts_no_agent(world: World) -> None:
    before = {task["id"] for task in world.call("GET", f"/v2/apps{APP}/tasks")["tasks"]}
    world.hosts["host-3"].switch(on=True)
    world.wait_for_agents(3)
    world.scaler.look()
    world.wait_until_deployed()
    after = {task["id"] for task in world.call("GET", f"/v2/apps{APP}/tasks")["tasks"]}
    assert before < after


def test_a_host_that_went_is_believed_only_after_a_while(world: World) -> None:
    world.hosts["host-2"].switch(on=False)
    world.wait_for_agents(1)
    world.scaler.look()
    world.clock.advance(FEWER_AFTER - 1)
    world.scaler.look()
    assert world.instances() == 2
    world.clock.advance(1)
    world.scaler.look()
    assert world.instances() == 1
    assert world.metric("agents_scalings_total", direction="down") == 1


def test_no_hosts_at_all_change_nothing(world: World) -> None:
    for host in world.hosts.values():
        host.switch(on=False)
    world.wait_for_agents(0)
    for _ in range(3):
        world.scaler.look()
        world.clock.advance(FEWER_AFTER)
    assert world.instances() == 2


def test_a_master_that_does_not_answer_changes_nothing(world: World) -> None:
    client = ScalingClient([world.marathon.url], ["http://127.0.0.1:1"])
    scaler = AgentsScaler(APP, client, lambda: True, world.clock, world.metrics)
    for _ in range(3):
        scaler.look()
        world.clock.advance(FEWER_AFTER)
    assert world.instances() == 2
    assert world.metric("mesos_agents") != world.metric("mesos_agents"), "not known, hence NaN"


def test_a_master_that_fails_once_makes_the_time_for_fewer_begin_anew(world: World) -> None:
    one = as_json({"slaves": [{"hostname": "host-1"}]})
    failing = as_json({}, "503 Service Unavailable")
    with Loopback({"/slaves": in_turn(one, failing, one)}) as master:
        client = ScalingClient([world.marathon.url], [master.url])
        scaler = AgentsScaler(APP, client, lambda: True, world.clock, world.metrics)
        for _ in range(3):
            scaler.look()
            world.clock.advance(FEWER_AFTER / 2)
        assert world.instances() == 2
        world.clock.advance(FEWER_AFTER / 2)
        scaler.look()
        assert world.instances() == 1


def test_a_running_deployment_is_waited_for(world: World) -> None:
    # A third instance has no host, so that its deployment goes on.
    world.call("PUT", f"/v2/apps{APP}", {"instances": 3})
    world.clock.advance(FEWER_AFTER)
    world.scaler.look()
    world.clock.advance(FEWER_AFTER)
    world.scaler.look()
    assert world.instances() == 3
    world.call("DELETE", f"/v2/deployments/{world.call('GET', '/v2/deployments')[0]['id']}?force=1")
    world.scaler.look()
    assert world.instances() == 2


def test_a_deployment_that_began_between_look_and_change_is_no_error(world: World) -> None:
    world.call("PUT", f"/v2/apps{APP}", {"instances": 3})
    client = ScalingClient([world.marathon.url])
    assert client.scale(APP, 5) is False
    assert world.instances() == 3


def test_who_does_not_lead_changes_nothing(world: World) -> None:
    world.hosts["host-3"].switch(on=True)
    world.wait_for_agents(3)
    world.leads = False
    world.scaler.run(threading.Event())
    world.scaler.look()
    assert world.instances() == 2


def test_changes_are_spaced(world: World) -> None:
    world.hosts["host-3"].switch(on=True)
    world.wait_for_agents(3)
    world.scaler.look()
    world.wait_until_deployed()
    world.deploy(BODY | {"instances": 2})
    world.scaler.look()
    assert world.instances() == 2
    world.clock.advance(CHANGE_EVERY)
    world.scaler.look()
    assert world.instances() == 3


def test_an_app_that_is_not_there_is_not_made(world: World) -> None:
    assert ScalingClient([world.marathon.url]).app(AppId("/net/other")) is None
    with pytest.raises(MarathonError):
        ScalingClient([world.marathon.url]).scale(AppId("/net/other"), 3)


AGENTS = {"slaves": [{"hostname": "a"}, {"hostname": "b"}, {"hostname": "b", "active": False}]}


def test_agents_that_a_new_master_still_waits_for_are_counted() -> None:
    told = AGENTS | {"recovered_slaves": [{"hostname": "c"}]}
    with Loopback({"/slaves": as_json(told)}) as master:
        assert ScalingClient([], [master.url]).agents() == 3


def test_a_master_that_does_not_lead_names_the_one_that_does() -> None:
    with Loopback({"/slaves": as_json(AGENTS)}) as leader:
        to_leader = reply(
            b"", "307 Temporary Redirect", "", Location=f"//{leader.authority}/slaves"
        )
        with Loopback({"/slaves": to_leader}) as other:
            assert ScalingClient([], [other.url]).agents() == 2


def test_an_old_master_that_does_not_lead_knows_no_agents_and_another_is_asked() -> None:
    with (
        Loopback({"/slaves": as_json({"slaves": []})}) as other,
        Loopback({"/state.json": as_json(AGENTS)}) as old_leader,
    ):
        assert ScalingClient([], [other.url, old_leader.url]).agents() == 2
        assert ScalingClient([], [other.url]).agents() == 0


def test_the_leading_master_is_where_marathon_says() -> None:
    with Loopback({"/mesos/slaves": as_json(AGENTS)}) as master:
        config = {"mesos_leader_ui_url": f"{master.url}/mesos/"}
        info = as_json({"marathon_config": config})
        with Loopback({"/v2/info": info}) as marathon:
            assert ScalingClient([marathon.url]).agents() == 2


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"marathon_config": {"mesos_leader_ui_url": "/mesos"}}, id="a path only"),
        pytest.param({"marathon_config": {}}, id="nothing"),
        pytest.param({}, id="no configuration"),
    ],
)
def test_a_marathon_that_does_not_say_it_asks_for_a_flag(config: object) -> None:
    with (
        Loopback({"/v2/info": as_json(config)}) as marathon,
        pytest.raises(MarathonRejected, match="give --mesos-master"),
    ):
        ScalingClient([marathon.url]).agents()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(as_json({"slaves": [{"id": "S1"}]}), id="an agent without a host"),
        pytest.param(as_json({}), id="no list"),
        pytest.param(reply(b"<html>", kind="text/html"), id="no JSON"),
        pytest.param(as_json({}, "503 Service Unavailable"), id="no leader"),
        pytest.param(as_json({}, "401 Unauthorized"), id="no right"),
    ],
)
def test_an_answer_that_is_not_understood_is_an_error_and_no_number(answer: Any) -> None:
    with Loopback({"/slaves": answer}) as master, pytest.raises(MarathonError):
        ScalingClient([], [master.url]).agents()


def test_a_deployment_is_seen_and_the_next_marathon_is_asked_if_one_fails() -> None:
    app = {"instances": 4, "deployments": [{"id": "d"}]}
    routes = {"/v2/apps/net/agent": in_turn(as_json({"app": app}))}
    with Loopback({}) as broken, Loopback(routes) as marathon:
        client = ScalingClient([broken.url, marathon.url])
        assert client.app(APP) == AppScale(4, deploying=True)


@pytest.mark.parametrize("asked", [pytest.param(True, id="asked"), pytest.param(False, id="not")])
def test_a_controller_scales_the_agents_if_its_app_is_rendered_so(
    world: World, tmp_path: Path, *, asked: bool
) -> None:
    scaling = {"scale_agents": APP, "mesos_masters": [world.marathon.url]} if asked else {}
    flags = ["--listen", "127.0.0.1:0"]
    with running_etcd(tmp_path) as etcd:
        controller = {"marathon": [world.marathon.url], "arguments": flags, **scaling}
        app = render_app("controller", {"etcd": [etcd], "controller": controller})
        words = shlex.split(app["cmd"])
        program = Path(sys.executable).with_name(words[0])
        world.call("PUT", f"/v2/apps{APP}", {"instances": 1})
        with subprocess.Popen([str(program), *words[1:]], env=app["env"]) as process:
            try:
                _wait_for(process, lambda: world.instances() == 2 if asked else _has_led(etcd))
                if not asked:
                    # Who was asked has scaled by now: its first look is when it begins to lead.
                    threading.Event().wait(1)
            finally:
                process.terminate()
            assert process.wait(SOON) == 0
    assert world.instances() == (2 if asked else 1)


def _wait_for(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    while not reached():
        assert process.poll() is None
        threading.Event().wait(0.1)


def _has_led(etcd: str) -> bool:
    """The first that a leader does is to see to it that there is a pool."""
    return requests.get(f"{etcd}/v2/keys/calico/v1/ipam/v4/pool", timeout=SOON).ok
