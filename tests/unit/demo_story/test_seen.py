"""What Star's own measurements say, from its collector's answers."""

from typing import Any

from demo.stories.matrix import Outcome, Pair, Task
from demo.stories.seen import app_of, see

COLLECTOR = "/star/collect"
GROUPS = ("public",)
TASKS = {
    COLLECTOR: Task("collect", "host-1", GROUPS, (9001,)),
    "/star/probe-a": Task("probe-a", "host-1", GROUPS, (9000,)),
    "/star/probe-b": Task("probe-b", "host-2", GROUPS, (9000,)),
}


def url(name: str) -> str:
    return f"http://{name}.star.marathon.mesos:9000/status"


def answered(name: str, **reachable: bool) -> dict[str, Any]:
    """A probe's answer: whom it reaches, its names' underscores being dashes."""
    targets = [
        {"url": url(other.replace("_", "-")), "reachable": reached}
        for other, reached in reachable.items()
    ]
    return {"url": url(name), "statusCode": 200, "json": {"status": {"targets": targets}}}


def test_a_url_names_its_app() -> None:
    assert app_of(url("probe-a")) == "/star/probe-a"


def test_who_reached_whom_is_told_by_both_ends() -> None:
    seen = see(
        {"A": answered("probe-a", probe_b=True), "B": answered("probe-b", probe_a=False)},
        TASKS,
        COLLECTOR,
    )

    assert seen.complete
    assert seen.outcomes == {
        Pair("collect", "probe-a", 9000): Outcome.CONNECTED,
        Pair("probe-a", "probe-b", 9000): Outcome.CONNECTED,
        Pair("collect", "probe-b", 9000): Outcome.CONNECTED,
        Pair("probe-b", "probe-a", 9000): Outcome.SILENT,
    }


def test_a_probe_that_does_not_answer_leaves_its_own_pairs_open() -> None:
    seen = see({"A": answered("probe-a", probe_b=False), "B": None}, TASKS, COLLECTOR)

    assert not seen.complete
    assert {pair.source for pair in seen.outcomes} == {"collect", "probe-a"}


def test_what_does_not_run_must_not_be_reached() -> None:
    seen = see({"A": answered("probe-a", probe_b=True, probe_c=True), "C": None}, TASKS, COLLECTOR)

    assert seen.ghosts == (f"probe-a -> {url('probe-c')}",)
