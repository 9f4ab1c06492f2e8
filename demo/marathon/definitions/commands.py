"""From an app's `cmd` to a program: the demo's own ones only, and no shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.marathon.errors import ApiError, invalid_object
from demo.mesos.records import Json

ROOT = Path(__file__).resolve().parents[3]
STAR_PROGRAMS = {"star-probe": "demo.star.probe", "star-collect": "demo.star.collect"}
RESOURCES = "--resources-file"


@dataclass(frozen=True, slots=True)
class Program:
    """What is executed for an app."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)


CommandRule = Callable[[Json], Program]


def own_programs(app: Json) -> Program:
    """The program of an app that runs one of the demo's own; refuses any other."""
    words = _words(app)
    match words:
        case [name, *arguments] if name in STAR_PROGRAMS:
            # Without site-packages: a probe answers in half the time.
            argv = (sys.executable, "-S", "-m", STAR_PROGRAMS[name], *_with_files(arguments))
            return Program(argv, {"PYTHONPATH": str(ROOT)})
        case ["marathon-calico", *arguments]:
            program = Path(sys.executable).with_name("marathon-calico")
            return Program((str(program), *arguments))
        case ["python3", "-m", "http.server", port] if port.isdigit():
            return Program((sys.executable, *words[1:]))
        case ["sleep", seconds] if seconds.replace(".", "", 1).isdigit():
            return Program((shutil.which("sleep") or "/bin/sleep", seconds))
        case _:
            raise _refused(
                "this cluster starts only star-probe, star-collect, marathon-calico, sleep and"
                " python3 -m http.server, without a shell"
            )


def any_program(app: Json) -> Program:
    """Whatever the app asks for, still without a shell."""
    words = _words(app)
    if words[0] in STAR_PROGRAMS or words[0] == "marathon-calico":
        return own_programs(app)
    return Program(tuple(words))


def _with_files(arguments: Sequence[str]) -> Iterator[str]:
    """A resources file named without a folder is one of the demo's: `uris` are not fetched."""
    before = ""
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag == RESOURCES and equals and Path(value).name == value:
            yield f"{flag}={ROOT / 'demo' / 'apps' / value}"
        elif before == RESOURCES and Path(argument).name == argument:
            yield str(ROOT / "demo" / "apps" / argument)
        else:
            yield argument
        before = argument


def _words(app: Json) -> list[str]:
    if app["cmd"] is None:
        words = [word for word in app["args"] or [] if isinstance(word, str)]
    else:
        try:
            words = shlex.split(app["cmd"])
        except ValueError as error:
            raise _refused(str(error)) from error
    if not words:
        raise _refused("there is nothing to start")
    return words


def _refused(reason: str) -> ApiError:
    return invalid_object("/cmd", reason)
