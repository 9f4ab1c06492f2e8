"""Every command of every page is read by our own parsers, run by a test, or said not to be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.pages import PAGES, ROOT, told, typed
from tests.unit.docs.known import NAMES, NOT_RUN, RUN, NotRun
from tests.unit.docs.parsing import NotOurs, check

RUN_COMMANDS = tuple(each for commands in RUN.values() for each in commands)


def every(what: str) -> Iterator[object]:
    found = typed if what == "typed" else told
    for page in PAGES:
        for command in found(page):
            yield pytest.param(page, command, id=f"{page}: {command[:60]}")


def is_known(page: str, command: str) -> bool:
    """Whether a test runs it, or its page says that nobody did."""
    return command.startswith(RUN_COMMANDS) or any(
        command.startswith(each.commands) and each.said in PAGES[page] for each in NOT_RUN
    )


@pytest.mark.parametrize(("page", "command"), list(every("typed")))
def test_a_command_in_a_block_is_accounted_for(page: str, command: str) -> None:
    if not is_known(page, command):
        check(command)


@pytest.mark.parametrize(("page", "command"), list(every("told")))
def test_a_command_in_a_sentence_is_accounted_for(page: str, command: str) -> None:
    if command in NAMES or is_known(page, command):
        return
    try:
        check(command)
    except click.MissingParameter:
        # It is spoken of, by its name.
        assert len(command.split()) <= 3


@pytest.mark.parametrize("test", RUN)
def test_who_is_said_to_run_commands_exists_and_reads_pages(test: str) -> None:
    path, _, name = test.partition("::")
    module = ast.parse((ROOT / path).read_text())
    assert name in {each.name for each in module.body if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize(
    "command",
    [each for group in (*RUN.values(), *(it.commands for it in NOT_RUN)) for each in group],
)
def test_what_is_said_of_a_command_is_of_one_that_is_there(command: str) -> None:
    assert any(each.startswith(command) for page in PAGES for each in (*typed(page), *told(page)))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_is_there(name: str) -> None:
    assert any(name in told(page) for page in PAGES)


@pytest.mark.parametrize("each", NOT_RUN, ids=lambda each: each.why)
def test_what_is_not_run_has_a_reason_that_its_page_tells(each: NotRun) -> None:
    pages = [
        page
        for page in PAGES
        if any(it.startswith(each.commands) for it in (*typed(page), *told(page)))
    ]
    assert pages
    assert [page for page in pages if each.said not in PAGES[page]] == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("marathon-calico states", id="no such command"),
        pytest.param("marathon-calico get tasks --al", id="no such flag"),
        pytest.param(".venv/bin/python -m demo exec master -- marathon-calico gt", id="inside"),
        pytest.param("make demos", id="no such target"),
        pytest.param("demo/launch.sh", id="no such script"),
        pytest.param("docker-compose exec elsewhere marathon-calico status", id="no such service"),
        pytest.param("docker run --rm marathon-calico statuses", id="no such command in an image"),
        pytest.param("make check && marathon-calico states", id="the second of two"),
    ],
)
def test_a_wrong_command_is_found(command: str) -> None:
    with pytest.raises(click.UsageError):
        check(command)


def test_a_new_command_of_somebody_elses_is_found() -> None:
    with pytest.raises(NotOurs):
        check("kubectl get pods")


def test_all_pages_are_looked_at() -> None:
    assert {path.name for path in Path(ROOT / "docs").iterdir() if path.suffix == ".md"} <= {
        Path(page).name for page in PAGES
    }
    assert sum(len(typed(page)) for page in PAGES) > 60
