"""The pages that operators read, and what stands on them to be typed."""

import re
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
#: Every page, by its path from the root.
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        *(ROOT / "README.md", ROOT / "charts/README.md"),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "demo").rglob("*.md")),
    )
}
SHELL = ("sh", "console", "")
#: With what a piece of text between backticks begins if it is a command.
PROGRAMS = (
    *("marathon-calico", "docker", "docker-compose", "systemctl", "journalctl", "make"),
    *("pip", "curl", "rm", "etcd", "etcdctl", "nft", "ip", "iptables", "dig", "python3"),
)
OWN_PATHS = ("demo/", ".venv/", "/opt/marathon-calico/")

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^ *```", re.DOTALL | re.MULTILINE
)
_COMMENT = re.compile(r"(?:^|\s+)#.*$", re.MULTILINE)
_LOOP = re.compile(r"^for .*?^done$", re.DOTALL | re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*|[A-Z_]+=\"[^\"]*\"")


def blocks(page: str, kind: str) -> list[str]:
    """A page's blocks of one language, in order, as if they stood at the margin."""
    return [
        dedent(found["text"]) for found in _FENCE.finditer(PAGES[page]) if found["kind"] == kind
    ]


def block_with(page: str, words: str, kind: str = "sh") -> str:
    """The page's one block that has these words."""
    (found,) = (each for each in blocks(page, kind) if words in each)
    return found


def commands_of(block: str) -> list[str]:
    """What a shell is given at once: lines with what continues them, or a whole loop.

    Flags and variables that stand alone belong to other programs' commands.
    """
    text = _COMMENT.sub("", block.replace("\\\n", " "))
    loops = [found[0] for found in _LOOP.finditer(text)]
    lines = _LOOP.sub("", text).splitlines()
    found = [" ".join(each.split()) for each in (*lines, *loops)]
    return [
        each
        for each in found
        if each and not each.startswith("--") and not _ASSIGNMENT.fullmatch(each)
    ]


def typed(page: str) -> list[str]:
    """All commands of a page's blocks."""
    found = [
        command
        for block in _FENCE.finditer(PAGES[page])
        if block["kind"] in SHELL and _is_shell(block["text"])
        for command in commands_of(dedent(block["text"]))
    ]
    return list(dict.fromkeys(found))


def told(page: str) -> list[str]:
    """All commands in a page's sentences and tables."""
    quoted = re.findall(r"`([^`]+)`", _FENCE.sub("", PAGES[page]))
    found = [" ".join(each.split()) for each in quoted]
    return list(dict.fromkeys(each for each in found if _is_command(each)))


def _is_shell(block: str) -> bool:
    """Whether a block without a language is one of commands."""
    first = block.lstrip().partition("\n")[0]
    return not block.lstrip().startswith("#") and not first.endswith("etcd")


def _is_command(text: str) -> bool:
    program, _, rest = text.partition(" ")
    whole = bool(rest) and "..." not in rest and not rest.endswith("--")
    return whole and (program in PROGRAMS or program.startswith(OWN_PATHS))
