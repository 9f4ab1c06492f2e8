"""The page on holds: its way to see one in the demo's cluster, command by command."""

import json
import os
import re

import pytest

from demo.embedded.cluster import Cluster
from demo.embedded.processes import PROJECT
from demo.stories.rest import MarathonApi
from tests.cluster.harness import REFUSED_CODE, START_SECONDS, directory, wait_until
from tests.cluster.test_pages import INSIDE, Desk
from tests.pages import block_with, commands_of

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.only_soak]
COMMANDS = ("up", "down", "env", "exec", "stop", "start")


def test_a_hold_is_seen_and_approved_as_the_page_says() -> None:
    (
        up,
        env,
        launch,
        tasks,
        *stops,
        end,
        start,
        show,
        status,
        approve,
        holds,
        agent,
        well,
        down,
    ) = commands_of(block_with("docs/holds.md", "demo up"))
    with directory() as path:
        own = {f"MARATHON_CALICO_DEMO_{each.upper()}_DIRECTORY": str(path) for each in COMMANDS}
        desk = Desk(PROJECT, {**os.environ, **own})
        started = desk.attempt(up)
        if started.returncode == REFUSED_CODE:
            pytest.skip(started.stderr)
        assert started.returncode == 0, started.stderr
        try:
            desk.known["MARATHON_URL"] = Cluster.attach(path).marathon_url
            with MarathonApi(desk.known["MARATHON_URL"]) as marathon:
                marathon.wait(START_SECONDS)
                wait_until(lambda: len(marathon.agents()) == 2, "no hosts", START_SECONDS)
            # given tasks that ended while nobody heard of it
            desk.run(f"{env}; {launch}")
            desk.until(tasks, r"(?s)(IN_SYNC.*){12}")
            for command in (*stops, end, start):
                desk.run(command)

            # then they are held, and shown
            desk.until(show, r"\d removals")
            assert re.search(r"held +\d removals", desk.run(status, code=1))

            # and once approved they go, and no trace of it stays
            (held,) = json.loads(desk.run(f"{INSIDE}marathon-calico holds -o json"))
            desk.run(approve.replace("PLAN", held["plan"]))
            desk.until(f"{holds} -o json", r"^\[\]$")
            desk.run(agent)
            desk.until(well, "tasks       0")
        finally:
            desk.run(down)
