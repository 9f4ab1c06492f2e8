"""What is planned to run where, and how soon it is started again."""

import pytest

from demo.embedded.hosts import plan_hosts, render_names
from demo.embedded.processes import ProcessSpec, plan_processes, restart_delay


def planned(
    arguments: dict[str, tuple[str, ...]] | None = None, supervised: bool = True
) -> dict[str, ProcessSpec]:
    specs = plan_processes(plan_hosts(2), "/usr/bin/etcd", 4, 5, arguments or {}, supervised)
    return {spec.name: spec for spec in specs}


def test_each_host_gets_its_two_agents_and_the_master_the_rest() -> None:
    hosts = {name: spec.host for name, spec in planned().items()}

    assert hosts == {
        "etcd": "master",
        "marathon": "master",
        "controller": "master",
        "dns": "master",
        "mesos-dns": "master",
        "page": "master",
        "facts": "master",
        "mesos-host-1": "host-1",
        "agent-host-1": "host-1",
        "mesos-host-2": "host-2",
        "agent-host-2": "host-2",
    }


def test_what_a_person_opens_is_inherited_by_whoever_serves_it() -> None:
    inherited = {name: spec.descriptors for name, spec in planned().items() if spec.descriptors}

    assert inherited == {"marathon": (4,), "page": (5,)}


def test_arguments_are_added_to_one_command_line() -> None:
    specs = planned({"controller": ("--resync", "5")})

    assert specs["controller"].argv[-2:] == ("--resync", "5")
    assert "--resync" not in specs["agent-host-1"].argv


def test_restarts_slow_down_to_a_limit() -> None:
    delays = [restart_delay(failures) for failures in range(40)]

    assert delays == sorted(delays)
    assert delays[0] <= 0.2
    assert delays[-1] == 5.0


def test_hosts_have_addresses_of_their_own() -> None:
    plans = plan_hosts(100)

    assert len({plan.address for plan in plans}) == 101
    assert "172.31.80.110 host-100\n" in render_names(plans)


@pytest.mark.parametrize("count", [pytest.param(0, id="none"), pytest.param(101, id="too many")])
def test_an_impossible_number_of_hosts_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 100"):
        plan_hosts(count)


def test_only_a_supervised_cluster_runs_controller_and_agents_itself() -> None:
    ours = {"controller", "agent-host-1", "agent-host-2"}

    assert planned().keys() - planned(supervised=False).keys() == ours


def test_what_is_added_to_all_agents_comes_before_what_is_added_to_one() -> None:
    specs = planned({"agent": ("--locator", "none"), "agent-host-1": ("--host-ports", "53")})

    assert specs["agent-host-1"].argv[-4:] == ("--locator", "none", "--host-ports", "53")
    assert specs["agent-host-2"].argv[-2:] == ("--locator", "none")
