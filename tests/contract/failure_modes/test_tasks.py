"""F19 to F22, F24 and F28: what Marathon says of tasks and apps goes wrong."""

import time

import pytest

from calico.model import TaskVerdict
from demo.marathon import Answer, Era, RestFault, StreamFaults
from tests.contract.failure_modes.world import following


def test_f19_tasks_of_an_older_version_keep_its_groups_until_they_end() -> None:
    # given a rolling change of groups that takes one task after the other
    with following() as world:
        world.deploy(instances=3, upgradeStrategy={"minimumHealthCapacity": 0.7})
        world.until_open(3)
        old = world.opened()
        address = {"groups": ["db"], "discovery": {"ports": []}}
        world.change(ipAddress=address)

        def old_keep_theirs() -> bool:
            records = world.cluster.records()
            return all(
                records[name].groups == (("web",) if name in old else ("db",))
                for name in world.opened()
            )

        world.pass_by(30, old_keep_theirs)
        world.until(lambda: not (old & world.opened()) and len(world.opened()) == 3)
        assert old_keep_theirs()


def test_f20_a_task_that_is_lost_and_comes_back_keeps_its_address() -> None:
    with following() as world:
        world.deploy(instances=4)
        world.until_open(4)
        before = world.cluster.specs()
        name = sorted(before)[0]
        # given a host that Marathon has given up, and finds again
        world.break_rest(RestFault(Answer.LACKING, path="/v2/*", ids=name))
        world.tell(name, "TASK_LOST")
        world.pass_by(20)
        world.heal()
        world.tell(name, "TASK_RUNNING")
        world.pass_by(200)
        after = world.cluster.specs()
    assert after[name].addresses == before[name].addresses


@pytest.mark.parametrize(
    "reported",
    [
        pytest.param(("127.0.0.1",), id="the agent's own"),
        pytest.param(("10.200.0.1",), id="of nobody"),
    ],
)
def test_f21_an_address_that_is_not_ours_opens_nothing(reported: tuple[str, ...]) -> None:
    with following(Era(1, 3), address_of=lambda _: reported) as world:
        world.deploy(named=True)
        world.pass_by(100)
        (record,) = world.cluster.records().values()
        assert not world.opened()
    assert record.verdict is not TaskVerdict.ACCEPTED
    assert reported[0] in record.reason


def test_f21_an_address_that_is_missing_when_the_task_runs_is_waited_for() -> None:
    with following(Era(1, 3)) as world:
        world.deploy(named=True)
        world.pass_by(20)
        (record,) = world.cluster.records().values()
    assert record.verdict is TaskVerdict.PENDING
    assert record.reason


def test_f22_an_address_has_one_owner_though_the_end_of_the_first_was_never_told() -> None:
    with following() as world:
        world.deploy(instances=2)
        world.until_open(2)
        taken = {address for spec in world.cluster.specs().values() for address in spec.addresses}
        # given ends that are never told, and a new task beside each
        world.break_stream(StreamFaults(drop=("*",)))
        for name in sorted(world.opened()):
            world.end(name)
        world.until(lambda: len(world.running()) == 2 and not world.running() & world.opened())

        # when lists tell of the new ones and lack the old
        def one_owner() -> bool:
            owned = [a for spec in world.cluster.specs().values() for a in spec.addresses]
            return len(owned) == len(set(owned))

        world.pass_by(300, one_owner)
        world.until_open(2)
        fresh = {address for spec in world.cluster.specs().values() for address in spec.addresses}
    assert not taken & fresh


@pytest.mark.parametrize("hours", [-1, 1])
def test_f24_a_clock_that_is_an_hour_off_changes_nothing(hours: int) -> None:
    with following(now=lambda: time.time() + 3600 * hours) as world:
        world.deploy(instances=3)
        world.by_event(lambda: len(world.opened()) == 3)
        world.end(sorted(world.running())[0])
        world.by_event(lambda: len(world.running()) == 3 and world.opened() == world.running())
        living = world.opened()
        world.pass_by(150, lambda: living == world.opened())


def test_f28_what_a_later_version_adds_is_passed_over() -> None:
    with following() as world:
        world.break_rest(
            RestFault(
                Answer.PATCHED,
                path="/v2/*",
                method="GET",
                fields={"surprise": {"of": ["another", 1]}, "unreachableStrategy": 3},
            )
        )
        world.marathon.stand_in.send("brand_new_event", {"eventType": "brand_new_event", "x": {}})
        world.deploy(instances=2)
        world.by_event(lambda: len(world.opened()) == 2)


def test_f28_a_state_that_is_not_known_keeps_the_task() -> None:
    with following() as world:
        world.deploy(instances=2)
        world.until_open(2)
        living = world.opened()
        name = sorted(living)[0]
        world.tell(name, "TASK_DREAMING")
        world.pass_by(150, lambda: living == world.opened())
