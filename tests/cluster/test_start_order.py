"""Whatever starts last, all converges."""

import pytest

from tests.cluster.harness import Drive, launched, probe

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(("etcd",), id="etcd last"),
        pytest.param(("marathon",), id="Marathon last"),
        pytest.param(("controller",), id="controller last"),
        pytest.param(("agent-host-1", "agent-host-2"), id="agents last"),
        pytest.param(("mesos-host-1", "mesos-host-2"), id="Mesos agents last"),
    ],
)
def test_a_late_process_is_waited_for(late: tuple[str, ...]) -> None:
    without = [argument for name in late for argument in ("--without", name)]
    with launched("--supervised", *without) as running, Drive.of(running.cluster) as drive:
        if "marathon" in late:
            drive.cluster.control.start("marathon")
        drive.deploy("/order", [probe("a", "one"), probe("b", "one"), probe("c", "two")])

        for name in late:
            drive.cluster.control.start(name)

        drive.settle(3)
