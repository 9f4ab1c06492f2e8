"""The page on running the product as apps: its commands, as written, against Marathon's API."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from charts import NAMES, render_app
from charts.values import APPS, HealthCheck
from demo.marathon import MemoryAgent, StandIn
from demo.marathon.definitions.commands import any_program
from demo.marathon.era import parse_era
from tests.pages import PAGES, ROOT, blocks

PAGE = "charts/README.md"
SOON = 10


def apps_of(marathon: StandIn) -> dict[str, Any]:
    """What Marathon holds."""
    listed = requests.get(f"{marathon.url}/v2/apps", timeout=SOON).json()["apps"]
    return {app["id"]: app for app in listed}


@pytest.mark.parametrize("era", ["0.14", "1.4", "1.9"])
def test_the_pages_commands_do_what_it_says(era: str, tmp_path: Path) -> None:
    for name in ("charts", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    render, put, remove, of_demo = blocks(PAGE, "sh")
    if era == "1.9":
        render = render.replace("render --values", "render --form networks --values")

    def run(script: str) -> None:
        subprocess.run(
            [shutil.which("sh") or "/bin/sh", "-eu", "-c", script],
            cwd=tmp_path,
            env={"MARATHON_URL": marathon.url, "PATH": "/usr/bin:/bin"},
            check=True,
            timeout=60,
        )

    agents = {f"host-{number}": MemoryAgent() for number in range(3)}
    with StandIn(agents=agents, era=parse_era(era), rule=any_program) as marathon:
        run(render)
        assert "172.31.80.10" not in (tmp_path / "apps/agent.json").read_text()
        run(put)
        assert set(apps_of(marathon)) == {APPS["agent"].id, APPS["controller"].id}
        counts = {each: app["instances"] for each, app in apps_of(marathon).items()}
        assert counts == {APPS["agent"].id: 3, APPS["controller"].id: 2}
        run(remove)
        assert apps_of(marathon) == {}
        run(of_demo)
        assert "172.31.80.10" in (tmp_path / "apps/agent.json").read_text()


def test_the_pages_values_are_values() -> None:
    [shown] = blocks(PAGE, "json")
    values = json.loads(shown)
    values |= {"etcd": ["http://10.0.0.1:2379"]}
    values["controller"] |= {"marathon": ["http://10.0.0.1:8080"]}
    app = render_app("controller", values)
    assert app["env"]["MARATHON_CALICO_CONTROLLER_SCALE_AGENTS"] == "/marathon-calico/agent"


def test_every_value_is_on_the_page() -> None:
    prose = re.sub(r"```.*?```", "", PAGES[PAGE], flags=re.DOTALL)
    told = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", prose))))
    for name in NAMES:
        assert {each for each in APPS[name].__slots__ if each not in told} == set()
    assert {each for each in HealthCheck.__slots__ if each not in told} == set()
