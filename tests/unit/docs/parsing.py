"""A page's command, given to the parser of the program that it calls, and to nothing else."""

import re
import shlex
from collections.abc import Callable, Sequence

import click

from charts.__main__ import main as charts
from demo.__main__ import main as demo
from demo.marathon.__main__ import main as marathon
from demo.star.facts.__main__ import main as facts
from reconciler.cli.main import main as product
from tests.pages import ROOT

Words = Sequence[str]
#: What stands on a page for something of the reader's.
PLACES = {
    **{"URL": "http://10.0.0.1:2379", "NAME": "10.0.0.7", "ADDRESS": "192.168.0.7"},
    "PLAN": "0123456789ab",
}
#: Modules that are called with `python -m`.
MODULES = {"demo": demo, "demo.marathon": marathon, "demo.star.facts": facts, "charts": charts}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
#: Values that docker's flags take as words of their own.
_DOCKER_FLAG = re.compile(
    r"(?<!\S)(?:(?:--(?:cap-add|security-opt|name|restart|network|pid|user)|-v) \S+|-d|--rm)"
)


class NotOurs(Exception):
    """The command calls a program of somebody else's."""


def check(command: str) -> None:
    """Give each part of a command to our own parsers.

    Raises NotOurs, or what a parser raises.
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&")
    lexer.whitespace_split = True
    part: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&"):
            _check_part(command, part)
            part = []
        else:
            part.append(PLACES.get(word, word))


def _check_part(command: str, words: Words) -> None:
    match list(words):
        case ["marathon-calico" | "/opt/marathon-calico/bin/marathon-calico", *rest]:
            parse(product, rest)
        case [".venv/bin/python", "-m", module, *rest] if module in MODULES:
            parse(MODULES[module], rest, of_demo)
        case ["make", *rest]:
            targets = [each for each in rest if "=" not in each]
            if not set(targets) <= TARGETS:
                raise click.UsageError(f"no such target: {targets}")
        case [script] if script.startswith("demo/"):
            if not (ROOT / script).is_file():
                raise click.UsageError(f"there is no {script}")
        case ["docker-compose", "exec", service, "marathon-calico", *rest]:
            if f"\n  {service}:\n" not in (ROOT / "docker-compose.yml").read_text():
                raise click.UsageError(f"no service: {service}")
            parse(product, rest)
        case ["docker", "run", *_] if len(words) > 4:
            text = _DOCKER_FLAG.sub("", command.partition(" run ")[2])
            parse(product, text.split()[1:])
        case _:
            raise NotOurs(command)


def of_demo(name: str, words: Words) -> None:
    """What is given to a host of the demo's is a command too."""
    if name == "exec" and words[0] == "marathon-calico":
        parse(product, words[1:])


def parse(
    command: click.Command, words: Words, leaf: Callable[[str, Words], None] | None = None
) -> None:
    """Raise what the command's parser says of these words; run nothing."""
    name, rest, above = command.name, list(words), None
    while True:
        try:
            context = command.make_context(name, list(rest), parent=above)
        except click.exceptions.Exit:
            # It has printed its help.
            return
        if not isinstance(command, click.Group):
            break
        _, rest, _ = command.make_parser(context).parse_args(rest)
        if not rest:
            # A group prints its help.
            return
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, above = found, context
    if leaf is not None:
        leaf(str(name), tuple(context.params.get("command", ())))
