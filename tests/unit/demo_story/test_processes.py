"""What is planned to run where, and how soon it is started again."""

import pytest

from demo.embedded.hosts import plan_hosts, render_names
from demo.embedded.processes import ProcessSpec, Shape, plan_processes, restart_delay

SEVERAL = Shape(etcd_members=3, controllers=2)


def planned(
    arguments: dict[str, tuple[str, ...]] | None = None, supervised: bool = True
) -> dict[str, ProcessSpec]:
    specs = plan_processes(
        plan_hosts(2), "/usr/bin/etcd", 4, 5, arguments or {}, supervised, Shape()
    )
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


def test_several_members_and_controllers_are_numbered_from_the_second_on() -> None:
    specs = plan_processes(plan_hosts(1), "etcd", 4, 5, {}, True, SEVERAL)
    by_name = {spec.name: spec.argv for spec in specs}

    assert [name for name in by_name if name.startswith(("etcd", "controller"))] == [
        "etcd",
        "etcd-2",
        "etcd-3",
        "controller",
        "controller-2",
    ]
    members = [f"--etcd http://172.31.80.10:{port}" for port in (2379, 2389, 2399)]
    for name in ("controller", "controller-2", "dns", "facts", "agent-host-1"):
        assert " ".join(members) in " ".join(by_name[name])
    cluster = (
        "--initial-cluster=master=http://172.31.80.10:2380,"
        "master-2=http://172.31.80.10:2390,master-3=http://172.31.80.10:2400"
    )
    assert all(cluster in by_name[name] for name in ("etcd", "etcd-2", "etcd-3"))


def test_no_two_processes_of_a_host_are_told_to_listen_on_one_port() -> None:
    specs = plan_processes(plan_hosts(1), "etcd", 4, 5, {}, True, SEVERAL)
    told = [(spec.host, word) for spec in specs for word in _listened(spec)]

    assert len(told) == len(set(told))
    assert sum(host == "master" for host, _ in told) == 3 * 3 + 1 + 1 + 2 + 1 + 1


def test_no_host_has_two_controllers_as_long_as_there_are_others() -> None:
    specs = plan_processes(plan_hosts(2), "etcd", 4, 5, {}, True, Shape(controllers=4))
    found = [
        (spec.name, spec.host, spec.argv[-1])
        for spec in specs
        if spec.name.startswith("controller")
    ]

    assert found == [
        ("controller", "master", "172.31.80.10:9401"),
        ("controller-2", "host-1", "172.31.80.11:9411"),
        ("controller-3", "host-2", "172.31.80.12:9421"),
        ("controller-4", "master", "172.31.80.10:9431"),
    ]


def test_what_stands_between_is_found_where_etcd_and_marathon_are_looked_for() -> None:
    apart = {
        spec.name: " ".join(spec.argv)
        for spec in plan_processes(plan_hosts(1), "etcd", 4, 5, {}, True, Shape(2, 1, 10000))
    }

    assert "--listen-client-urls=http://172.31.80.10:12379," in apart["etcd"]
    assert "--advertise-client-urls=http://172.31.80.10:2379" in apart["etcd"]
    assert "--listen-client-urls=http://172.31.80.10:12389," in apart["etcd-2"]
    assert "--listen-peer-urls=http://172.31.80.10:12390" in apart["etcd-2"]
    assert "--initial-advertise-peer-urls=http://172.31.80.10:2390" in apart["etcd-2"]
    assert "--listen 172.31.80.10:18080 --leader 172.31.80.10:8080" in apart["marathon"]
    for name in ("controller", "agent-host-1"):
        assert "--etcd http://172.31.80.10:2379 --etcd http://172.31.80.10:2389" in apart[name]
    assert "--marathon http://172.31.80.10:8080" in apart["controller"]


def _listened(spec: ProcessSpec) -> list[str]:
    argv = spec.argv
    flags = [argv[at + 1] for at, word in enumerate(argv) if word in ("--listen", "--listen-dns")]
    urls = [word.partition("=")[2] for word in argv if word.startswith("--listen-")]
    return [*flags, *(url for word in urls if word for url in word.split(","))]
