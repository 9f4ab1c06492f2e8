"""The demo's scripts, run as a person runs them; they speak REST to Marathon and no more."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from demo.embedded.cluster import Cluster
from demo.embedded.processes import PROJECT
from demo.stories.seen import read_responses
from tests.cluster.harness import REFUSED_CODE, directory, wait_until

SCRIPTS = PROJECT / "demo"
SECONDS = 60.0
PROBES = {"A": "a", "B": "b", "C": "c", "D": "d"}
NOBODY = "http://127.0.0.1:1"


def script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of them, from a folder that is not theirs."""
    return subprocess.run(
        (str(SCRIPTS / name), *arguments),
        cwd="/",
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(params=["1.4", pytest.param("1.9", marks=pytest.mark.slow)])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of an era that a script has started; another one ends it."""
    with directory() as path:
        where = ("--directory", str(path))
        free = ("--port", "0", "--page-port", "0")
        started = script("launch-cluster.sh", *where, *free, "--era", request.param)
        if started.returncode == REFUSED_CODE:
            pytest.skip(started.stderr)
        assert started.returncode == 0, started.stderr
        try:
            yield Cluster.attach(path)
        finally:
            ended = script("stop-cluster.sh", *where)
        assert ended.returncode == 0, ended.stderr
        assert script("stop-cluster.sh", *where).returncode == 3


def reached(cluster: Cluster) -> dict[str, set[str]]:
    """Which probes each probe says that it reaches, by their letters."""
    found: dict[str, Any] = dict(read_responses(cluster.star_url) or {})
    return {
        PROBES[name]: {
            letter
            for target in response["json"]["status"]["targets"]
            if target["reachable"]
            for letter in re.findall(r"//probe-([a-d])\.", target["url"])
        }
        for name, response in found.items()
        if response and response["statusCode"] == 200
    }


def test_each_script_does_its_part(cluster: Cluster) -> None:
    def run(name: str) -> str:
        done = script(name, MARATHON_URL=cluster.marathon_url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def expect(wanted: dict[str, set[str]], otherwise: str) -> None:
        wait_until(
            lambda: reached(cluster) == wanted,
            f"{otherwise}: {reached(cluster)}",
            SECONDS,
        )

    assert "/star-before is being started by Marathon" in run("launch-probes-before.sh")
    wait_until(lambda: len(reached(cluster)) == 2, "not two of four probes run", SECONDS)
    waiting = requests.get(f"{cluster.marathon_url}/v2/queue", timeout=10).json()["queue"]
    assert len(waiting) == 2
    run("stop-probes-before.sh")

    run("launch-probes.sh")
    expect({each: set("abcd") - {each} for each in "abcd"}, "not all reach all")
    run("stop-probes.sh")
    # Not gone yet, and started again.
    run("launch-probes.sh")
    wait_until(lambda: len(reached(cluster)) == 4, "not started again", SECONDS)
    run("stop-probes.sh")

    run("launch-probes-isolated.sh")
    pairs = {"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}
    expect(pairs, "the groups are not isolated")
    assert "is being stopped" in run("stop-probes-isolated.sh")
    assert "/star-iso does not run" in run("stop-probes-isolated.sh")


@pytest.mark.parametrize(
    "name",
    [
        f"{verb}-probes{story}.sh"
        for verb in ("launch", "stop")
        for story in ("", "-before", "-isolated")
    ],
)
def test_without_a_marathon_a_script_says_so(name: str) -> None:
    done = script(name, MARATHON_URL=NOBODY)

    assert done.returncode == 1
    assert f"{name}: no Marathon answers at {NOBODY}; set MARATHON_URL" in done.stderr


def test_without_curl_a_script_says_so(tmp_path: Path) -> None:
    for program in ("dirname", "basename", "sh"):
        (tmp_path / program).symlink_to(shutil.which(program) or f"/bin/{program}")

    done = script("launch-probes.sh", PATH=str(tmp_path))

    assert (done.returncode, done.stderr) == (1, "launch-probes.sh: curl is not installed\n")


def test_another_machine_s_marathon_is_not_the_embedded_cluster() -> None:
    done = script("launch-cluster.sh", MARATHON_URL="http://marathon.example:8080")

    assert done.returncode == 2
    assert "not at http://marathon.example:8080" in done.stderr
