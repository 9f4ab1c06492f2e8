"""Which programs an app may start."""

import json
import re
import sys

import pytest

from demo.marathon.definitions.commands import ROOT, any_program, own_programs
from demo.marathon.errors import ApiError
from demo.mesos.records import Json

APPS = ROOT / "demo" / "apps"


def command(cmd: str | None, args: list[str] | None = None) -> Json:
    """The part of an app that says what it runs."""
    return {"cmd": cmd, "args": args}


def test_a_probe_is_started_by_this_python_without_a_shell() -> None:
    program = own_programs(command("star-probe --port 9000"))
    assert program.argv == (sys.executable, "-S", "-m", "demo.star.probe", "--port", "9000")
    assert list(program.env) == ["PYTHONPATH"]


@pytest.mark.parametrize(
    ("page", "count"), [("cni.md", 2), ("net-modules.md", 1), ("stand-in.md", 0)]
)
def test_the_apps_of_the_pages_can_be_started(page: str, count: int) -> None:
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    apps = [app for app in map(json.loads, blocks) if "cmd" in app]

    programs = [own_programs({"args": None, **app}) for app in apps]

    argv = (sys.executable, "-m", "http.server", "9000")
    assert [program.argv for program in programs] == [argv] * count


def test_shell_characters_are_ordinary_arguments() -> None:
    program = own_programs(command("star-probe --port 9000 && rm -rf '/tmp x'"))
    assert program.argv[-5:] == ("9000", "&&", "rm", "-rf", "/tmp x")


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(command("chmod u+x ./star-probe* && ./star-probe"), id="a shell line"),
        pytest.param(command("sh -c 'star-probe'"), id="a shell"),
        pytest.param(command("/bin/sleep 5"), id="by path"),
        pytest.param(command("sleep 5m"), id="no number"),
        pytest.param(command("python3 -m http.server /"), id="no port"),
        pytest.param(command("sleep"), id="too few words"),
        pytest.param(command("star-probe '"), id="an open quote"),
        pytest.param(command(""), id="nothing"),
        pytest.param(command(None, ["python3", "-c", "1"]), id="as a list"),
        pytest.param(command(None), id="an image only"),
    ],
)
def test_any_other_program_is_refused_with_a_reason(app: Json) -> None:
    with pytest.raises(ApiError) as refusal:
        own_programs(app)
    assert refusal.value.status == 422
    assert refusal.value.body["details"][0]["path"] == "/cmd"


def test_a_test_may_start_any_program() -> None:
    assert any_program(command("python3 -c 'print(1)'")).argv == ("python3", "-c", "print(1)")
    assert any_program(command("star-probe")).argv[2:] == ("-m", "demo.star.probe")


@pytest.mark.parametrize(
    ("words", "file"),
    [
        pytest.param("--resources-file=a.json", f"--resources-file={APPS / 'a.json'}", id="one"),
        pytest.param("--resources-file a.json", str(APPS / "a.json"), id="two words"),
        pytest.param("--resources-file /tmp/a.json", "/tmp/a.json", id="another folder"),
    ],
)
def test_a_resources_file_without_a_folder_is_one_of_the_demo(words: str, file: str) -> None:
    assert own_programs(command(f"star-collect {words}")).argv[-1] == file
