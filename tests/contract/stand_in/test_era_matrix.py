"""An app's life under the real controller, for every era and way to a network."""

from pathlib import Path

import pytest

from calico.datastore.memory import MemoryDatastore
from calico.model import PortOpening, TaskVerdict
from demo.marathon import Era
from tests.contract.stand_in.era_cluster import EraCluster, era_cluster
from tests.contract.stand_in.era_world import ERAS, app_of
from tests.unit.demo.apps import ip_app

WEB = "/v2/apps/shop/web"

ways = pytest.mark.parametrize(
    ("era", "plugin"),
    [
        *(pytest.param(era, True, id=f"{era} attached before it runs") for era in ERAS),
        *(
            pytest.param(era, False, id=f"{era} given an address once it runs")
            for era in ERAS
            if not era.uses_networks
        ),
    ],
)


def grouped(era: Era, plugin: bool, groups: str, **fields: object) -> dict[str, object]:
    """The app in its era's form; what no plugin attaches is on an unnamed network."""
    app = app_of(era, groups=groups, **fields)
    if not plugin:
        app["ipAddress"].pop("networkName", None)
    return app


def deployed(world: EraCluster, plugin: bool, instances: int = 1) -> set[str]:
    """The app is created and has its networks; its tasks."""
    app = grouped(world.marathon.era, plugin, "web", instances=instances)
    world.marathon("POST", "/v2/apps", app, status=201)
    world.until(lambda: world.settled(instances, ("web",)))
    return set(world.specs())


@ways
def test_deploy(era: Era, plugin: bool) -> None:
    with era_cluster(era, plugin) as world:
        (task,) = deployed(world, plugin)
        spec, record = world.specs()[task], world.cluster.records()[task]
        attached = world.attached.get(task)
    assert record.verdict is TaskVerdict.ACCEPTED
    assert record.ports == (PortOpening("tcp", 9000, "status"),)
    assert "web" in spec.profiles
    # What a plugin gave before the task ran is what the task has.
    assert (attached is not None) is plugin
    if attached is not None:
        assert (record.container, spec.addresses) == attached


@ways
def test_regroup(era: Era, plugin: bool) -> None:
    with era_cluster(era, plugin) as world:
        old = deployed(world, plugin)
        app = grouped(era, plugin, "other,more")
        update = {key: app[key] for key in ("ipAddress", "networks") if key in app}
        world.marathon("PUT", WEB, update)
        world.until(lambda: world.settled(1, ("other", "more")))
        assert not old & set(world.specs())
        (spec,) = world.specs().values()
    assert {"other", "more"} <= set(spec.profiles)
    assert "web" not in spec.profiles


@ways
def test_scale(era: Era, plugin: bool) -> None:
    with era_cluster(era, plugin) as world:
        (first,) = deployed(world, plugin)
        before = world.specs()[first]
        world.marathon("PUT", WEB, {"instances": 3})
        world.until(lambda: world.settled(3, ("web",)))
        assert world.specs()[first] == before
        assert len({spec.addresses for spec in world.specs().values()}) == 3
        world.marathon("PUT", WEB, {"instances": 1})
        world.until(lambda: world.settled(1, ("web",)))
        assert set(world.specs()) == {first}


@ways
def test_kill(era: Era, plugin: bool) -> None:
    with era_cluster(era, plugin) as world:
        (old,) = deployed(world, plugin)
        world.marathon("DELETE", f"{WEB}/tasks/{old}")
        world.until(lambda: world.settled(1, ("web",)) and old not in world.specs())
        world.marathon("DELETE", WEB)
        world.until(lambda: world.settled(0, ("web",)))


@ways
def test_redeploy(era: Era, plugin: bool) -> None:
    with era_cluster(era, plugin) as world:
        old = deployed(world, plugin, instances=2)
        world.marathon("POST", f"{WEB}/restart")
        world.until(lambda: world.settled(2, ("web",)) and not old & set(world.specs()))


@pytest.mark.parametrize("era", [era for era in ERAS if era.has_instances], ids=str)
def test_a_pod_is_deployed_regrouped_scaled_killed_and_redeployed(era: Era) -> None:
    path = "/v2/pods/shop/cache"

    def pod(groups: str, instances: int = 1, **labels: str) -> dict[str, object]:
        network = {"name": "calico", "mode": "container", "labels": {"groups": groups}}
        containers = [
            {"name": name, "exec": {"command": {"shell": "sleep 1000"}}} for name in ("a", "b")
        ]
        scaling = {"kind": "fixed", "instances": instances}
        return {
            "id": "/shop/cache",
            "networks": [network],
            "containers": containers,
            "scaling": scaling,
            "labels": labels,
        }

    with era_cluster(era, True) as world:
        world.marathon("POST", "/v2/pods", pod("web"), status=201)
        world.until(lambda: world.settled(1, ("web",)))
        (first,) = world.specs()
        # One endpoint for all containers, with the address that they share.
        (instance,) = world.marathon("GET", f"{path}::status")["instances"]
        assert instance["networks"][0]["addresses"] == [
            str(address) for address in world.specs()[first].addresses
        ]
        assert len(instance["containers"]) == 2

        world.marathon("PUT", path, pod("other"))
        world.until(lambda: world.settled(1, ("other",)) and first not in world.specs())

        world.marathon("PUT", path, pod("other", 2))
        world.until(lambda: world.settled(2, ("other",)))

        gone = sorted(world.specs())[0]
        world.marathon("DELETE", f"{path}::instances/{gone}")
        world.until(lambda: world.settled(2, ("other",)) and gone not in world.specs())

        old = set(world.specs())
        world.marathon("PUT", path, pod("other", 2, again="yes"))
        world.until(lambda: world.settled(2, ("other",)) and not old & set(world.specs()))

        world.marathon("DELETE", path, status=202)
        world.until(lambda: world.settled(0, ()))


@pytest.mark.parametrize("era", [era for era in ERAS if era.has_instances], ids=str)
def test_a_pod_whose_instance_failed_has_a_network_again(era: Era) -> None:
    container = {"name": "a", "exec": {"command": {"shell": "sleep 1000"}}}
    pod = {
        "id": "/shop/cache",
        "networks": [{"name": "calico", "mode": "container", "labels": {"groups": "web"}}],
        "containers": [container],
        "scheduling": {"backoff": {"backoff": 0}},
    }
    with era_cluster(era, True) as world:
        world.marathon("POST", "/v2/pods", pod, status=201)
        world.until(lambda: world.settled(1, ("web",)))
        ((old, before),) = world.specs().items()
        world.fail(old)
        world.until(
            lambda: world.settled(1, ("web",)) and next(iter(world.specs().values())) != before
        )
        ((new, after),) = world.specs().items()
    # From 1.8 on the instance is the same, its container and address are not.
    assert (new == f"{old}.2") is era.numbers_incarnations
    assert after.addresses != before.addresses
    assert after.interface != before.interface


@pytest.mark.parametrize("newer", [Era(1, 5), Era(1, 9)], ids=str)
def test_tasks_keep_their_groups_when_an_upgrade_erases_those_of_their_app(
    tmp_path: Path, newer: Era
) -> None:
    state, store = tmp_path / "marathon.json", MemoryDatastore()
    with era_cluster(Era(1, 4), True, store, state_file=state) as world:
        old = deployed(world, True)
        before = world.specs()
        agent = world.marathon.agent
    with era_cluster(newer, True, store, state_file=state, agent=agent) as world:
        world.until(lambda: world.tasks() == old)
        for _ in range(5):
            world.cluster.after(20)
            world.tell()
        assert world.specs() == before
        assert world.marathon("GET", WEB)["app"]["networks"][0]["labels"] == {}


def test_an_app_that_hides_its_groups_from_a_newer_marathon_is_closed_not_open() -> None:
    with era_cluster(Era(1, 5), True) as world:
        address = {"groups": ["web"], "networkName": "calico"}
        world.marathon("POST", "/v2/apps", ip_app(ipAddress=address), status=201)
        world.until(lambda: world.settled(1, ()))
        (spec,) = world.specs().values()
    assert "web" not in spec.profiles
