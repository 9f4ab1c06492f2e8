"""One planted bug, and what came of it."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A text of one file that another replaces, and the test files that should see it.

    `promise` is the number in docs/reliability.md, `what` says what the code
    then does wrong. `old` occurs once in the file. The first of the tests is the
    one that catches it, the others are close.
    """

    promise: str
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


class Outcome(enum.Enum):
    """How a mutant fared."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    STALE = "STALE"
    """Its text is not, or not just once, in the code."""
    UNCLEAR = "UNCLEAR"
    """No test failed by itself: the run broke off or took too long."""


def planted(mutant: Mutant, text: str) -> str | None:
    """The file with the bug in it; None where it no longer fits."""
    if text.count(mutant.old) != 1 or mutant.old == mutant.new:
        return None
    return text.replace(mutant.old, mutant.new)


def judge(code: int, output: str) -> tuple[Outcome, str]:
    """What a run of pytest says of a mutant, and the test that caught it.

    A test that fails ends pytest with 1; everything else that is not 0 is no
    test's word: nothing was collected, or the run was broken off.
    """
    if code == 0:
        return Outcome.SURVIVED, ""
    failed = (line for line in output.splitlines() if line.startswith("FAILED "))
    test = next(failed, "").removeprefix("FAILED ").partition(" - ")[0]
    if code == 1 and test:
        return Outcome.CAUGHT, test
    return Outcome.UNCLEAR, output.strip().rpartition("\n")[2]


def render_table(mutants: Iterable[Mutant]) -> str:
    """Markdown: by promise, what each bug does wrong and where it is caught."""
    rows = ["| Promise | What the code does wrong | Caught by |", "|---|---|---|"]
    for each in sorted(mutants, key=lambda mutant: int(mutant.promise.removeprefix("P"))):
        rows.append(f"| {each.promise} | {each.what} | `{each.tests[0]}` |")
    return "".join(f"{row}\n" for row in rows)
