"""`python -m tests.mutants`: every planted bug must be caught."""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.mutant import Mutant, Outcome, judge, planted, render_table
from tests.mutants.table import MUTANTS

ROOT = Path(__file__).parents[2]
COPIED = ("calico", "marathon_client", "reconciler", "demo", "tests", "charts")
SINGLE = ("setup.cfg", "pyproject.toml", "README.md", "DECISIONS.md", "Makefile")
SECONDS = 600
"""The longest that one bug's tests may run."""
ENDING = 30
"""Seconds in which tests that took too long can end what they started."""


def main(arguments: Sequence[str]) -> int:
    """Plant, run, and tell; 1 unless every bug was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only bugs whose description has one of these")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="bugs at a time")
    parser.add_argument("--no-baseline", action="store_true", help="believe that all is green")
    parser.add_argument("--table", action="store_true", help="only tell which bugs there are")
    asked = parser.parse_args(arguments)
    if asked.table:
        print(render_table(MUTANTS), end="")
        return 0
    chosen = [m for m in MUTANTS if not asked.words or any(w in m.what for w in asked.words)]
    if not chosen:
        print("no planted bug is described so", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(asked.jobs):
            copies.put(_copy(Path(directory) / str(number)))
        if not asked.no_baseline:
            tests = sorted({test for mutant in chosen for test in mutant.tests})
            with _taken(copies) as copy:
                code, told = _pytest(copy, tests, seconds=6 * SECONDS)
            if code:
                print(told[-3000:], file=sys.stderr)
                print("the tests fail without any bug planted", file=sys.stderr)
                return 1
        with ThreadPoolExecutor(asked.jobs) as pool:
            missed = 0
            runs = pool.map(lambda mutant: _run(mutant, copies), chosen)
            for mutant, (outcome, told) in zip(chosen, runs, strict=True):
                missed += outcome is not Outcome.CAUGHT
                print(f"{outcome.value:8} {mutant.promise:4} {mutant.what} | {told}", flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime
    print(f"{len(chosen) - missed} of {len(chosen)} caught, in {seconds:.0f} s of a processor")
    return 1 if missed else 0


def _run(mutant: Mutant, copies: "SimpleQueue[Path]") -> tuple[Outcome, str]:
    with _taken(copies) as copy:
        path = copy / mutant.file
        text = path.read_text() if path.exists() else ""
        wrong = planted(mutant, text)
        if wrong is None:
            return Outcome.STALE, f"{mutant.file} has other code now"
        path.write_text(wrong)
        try:
            return judge(*_pytest(copy, mutant.tests, seconds=SECONDS))
        finally:
            path.write_text(text)


def _pytest(copy: Path, tests: Sequence[str], *, seconds: float) -> tuple[int, str]:
    """The code that pytest ended with, and what it printed; another code after too long."""
    options = ("-x", "-q", "-n0", "-rf", "-p", "no:cacheprovider")
    command = (sys.executable, "-m", "tests.inside", *options, f"--basetemp={copy}.tmp", *tests)
    with subprocess.Popen(
        command,
        cwd=copy,
        # No bytecode: two texts of one size within a second are one to Python.
        env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        for allowed, then in ((seconds, signal.SIGINT), (ENDING, signal.SIGKILL)):
            try:
                printed, _ = running.communicate(timeout=allowed)
            except subprocess.TimeoutExpired:
                running.send_signal(then)
            else:
                return running.returncode, printed
        return running.wait(), f"not done in {seconds:.0f} s"


def _copy(target: Path) -> Path:
    target.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SINGLE:
        shutil.copy(ROOT / name, target / name)
    return target


@contextmanager
def _taken(copies: "SimpleQueue[Path]") -> Iterator[Path]:
    copy = copies.get()
    try:
        yield copy
    finally:
        copies.put(copy)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
