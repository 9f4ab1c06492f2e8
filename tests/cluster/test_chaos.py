"""A minute of what `make chaos` does for ten, and what its sensors are worth."""

import signal
from dataclasses import replace

import pytest

from tests.chaos.actions import Break, Split
from tests.chaos.instruments import find_leader
from tests.chaos.plan import AGENTS, ETCD, HOSTS, MASTER, draw_plan
from tests.chaos.run import Run, ViolationError, chaos
from tests.faults.door import Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(540)]
#: With every kind of action, and every fault of a proxy.
SEED, SECONDS = 354, 60.0
#: Of no pool.
OTHER_ADDRESS = "10.9.9.9"


def test_nothing_leaks_and_no_connection_suffers_whatever_is_killed_stopped_or_cut() -> None:
    plan = draw_plan(SEED, SECONDS)
    print(*plan.lines(), sep="\n")
    faults = {each.fault for each in plan.actions if isinstance(each, Break)}
    assert faults == set(Fault) - {Fault.NONE}

    with chaos(plan, print) as run:
        run.settle()
        run.wreak()
        run.converge()

    print(*run.figures.lines(), sep="\n")
    assert tuple(run.figures.actions) == plan.actions
    assert min(run.figures.tasks[kind] for kind in ("attached", "found")) > 10
    assert run.figures.forbidden > 1000
    assert run.figures.arrived > 1000
    assert len(run.figures.echoed) > 10


def test_the_sensors_see_a_hole_in_a_closed_way_a_wall_on_an_open_one_and_a_new_address() -> None:
    calm = replace(draw_plan(SEED, 6.0), actions=())
    with chaos(calm, print) as run:
        run.settle()
        # Else they would mend it before anybody suffers.
        for agent in AGENTS:
            run.cluster.control.kill(agent, signal.SIGSTOP)

        give_another_address(run)
        await_violation(run, f"and has {OTHER_ADDRESS}")
        insert_rule(run, "accept")
        await_violation(run, "LEAK: Task(name='chaos_")
        await_violation(run, "LEAK: Host(name='host-")
        insert_rule(run, "drop")
        await_violation(run, "stood still for")


def test_another_member_of_etcd_leads_once_the_first_is_cut_off() -> None:
    calm = draw_plan(SEED, 6.0)
    split = Split(0.5, ETCD[0], ETCD[1:], Fault.BLACK_HOLE, 5.0, leading=True)
    with chaos(replace(calm, begin=(), actions=(split,)), print) as run:
        run.settle()
        before = find_leader(run.cluster)

        run.wreak()

        assert None is not before != find_leader(run.cluster) is not None


def await_violation(run: Run, what: str) -> None:
    """Return once this is seen; earlier ones of another kind are told before."""
    told = ""
    while what not in told:
        with pytest.raises(ViolationError) as caught:
            run.wreak()
        told = str(caught.value)


def give_another_address(run: Run) -> None:
    """The first task that is found has another address than before."""
    code = (
        "set -e; pid=$(pgrep -f '[d]emo.star.probe' | head -n 1); "
        f"nsenter --target $pid --net ip address add {OTHER_ADDRESS}/32 dev eth0; "
        "nsenter --target $pid --net ip address flush dev eth0 to 192.168.0.0/16"
    )
    result = run.cluster.run(MASTER, ("sh", "-c", code))
    assert result.returncode == 0, result.stderr


def insert_rule(run: Run, verdict: str) -> None:
    """From now on every packet that a host passes on meets this verdict first."""
    for host in HOSTS:
        rule = ("insert", "rule", "inet", "marathon-calico", "forward", verdict)
        result = run.cluster.run(host, ("nft", *rule))
        assert result.returncode == 0, result.stderr
