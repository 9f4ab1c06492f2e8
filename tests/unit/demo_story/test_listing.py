"""What `status` says of hosts, processes and the product's own tasks."""

import pytest

from demo.embedded.control import HostStatus, ProcessStatus
from demo.embedded.product.listing import (
    align,
    lack_product,
    list_hosts,
    list_processes,
    list_product,
)
from demo.stories.rest import RunningTask


def task(name: str, host: str, *, running: bool = True) -> RunningTask:
    app = f"/marathon-calico/{name}"
    return RunningTask(f"marathon-calico_{name}.{host}", app, host, "2016-01-01", running, (), ())


WHOLE = [
    task("agent", "host-1"),
    task("agent", "host-2"),
    task("controller", "host-1"),
    task("controller", "host-2"),
]


def test_columns_begin_below_each_other_whatever_is_long() -> None:
    rows = [
        *list_hosts([HostStatus("master", "172.31.80.10", 7)]),
        *list_processes(
            [
                ProcessStatus("etcd", "master", wanted=True, pid=12, restarts=0),
                ProcessStatus("a-name-that-is-long", "host-1", wanted=False, pid=None, restarts=3),
            ]
        ),
        *list_product(WHOLE[2:3]),
    ]
    assert align(rows) == [
        "master                 172.31.80.10  pid 7",
        "  etcd                 master        pid 12   0 restarts",
        "  a-name-that-is-long  host-1        stopped  3 restarts",
        "  controller-host-1    host-1        running  task marathon-calico_controller.host-1",
    ]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        pytest.param(WHOLE, "", id="all runs"),
        pytest.param(
            [],
            "No controller and no agent runs: Marathon has no task of /marathon-calico.",
            id="its apps were deleted",
        ),
        pytest.param(
            [*WHOLE[1:], task("agent", "host-1", running=False)],
            "Not all of the product runs: 1 of 2 agents run.",
            id="an agent still starts",
        ),
        pytest.param(
            WHOLE[:1],
            "Not all of the product runs: 1 of 2 agents run, 0 of 2 controllers run.",
            id="little runs",
        ),
        pytest.param(
            "GET /v2/tasks: refused",
            "Controllers and agents are tasks of Marathon, which does not tell: "
            "GET /v2/tasks: refused",
            id="Marathon does not answer",
        ),
    ],
)
def test_what_is_missing_of_the_product_is_one_sentence(
    found: list[RunningTask] | str, sentence: str
) -> None:
    assert lack_product(found, hosts=2) == sentence
