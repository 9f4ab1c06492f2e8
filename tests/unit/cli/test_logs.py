"""One record is one line, whatever is in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.logs import JsonFormatter, TextFormatter, setup

HOSTILE = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; the root logger is as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "test", **fields})
    made.created = 1462096800.25
    return made


def test_the_message_comes_first_then_the_fields_in_their_order() -> None:
    line = TextFormatter().format(record("endpoint applied", task="web.1", changes=3, why="a b"))
    assert line == (
        '2016-05-01T10:00:00.250Z info    endpoint applied task=web.1 changes=3 why="a b"'
    )


def test_json_keeps_the_types_of_fields() -> None:
    line = JsonFormatter().format(record("endpoint applied", task="web.1", changes=3, ok=True))
    assert json.loads(line) == {
        "message": "endpoint applied",
        "task": "web.1",
        "changes": 3,
        "ok": True,
        "level": "info",
        "logger": "test",
        "time": "2016-05-01T10:00:00.250Z",
    }
    assert line.startswith('{"message": "endpoint applied", "task"')


@given(text=HOSTILE)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_no_text_makes_a_second_line_or_commands_a_terminal(
    formatter: logging.Formatter, text: str
) -> None:
    line = formatter.format(record(f"said {text}".replace("%", ""), task=text, reason=[text]))
    assert line.isprintable()


def test_a_traceback_stays_in_its_line() -> None:
    try:
        int("no\nsuch\x1b[2Jnumber")
    except ValueError as error:
        made = record("bug", exc_info=(type(error), error, error.__traceback__))
    line = TextFormatter().format(made)
    assert line.isprintable()
    assert "ValueError: invalid literal" in line


def test_secrets_are_not_logged() -> None:
    fields = {"password": "hunter2", "url": "http://user:hunter2@db:1/x", "etcd_secret": "hunter2"}
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record("asking http://user:hunter2@db:1", **fields))
        assert "hunter2" not in line
        assert "db:1/x" in line


def test_setting_up_twice_logs_once_and_libraries_are_quiet(stream: io.StringIO) -> None:
    setup("debug", "text", io.StringIO())
    setup("info", "json", stream)
    logging.getLogger("reconciler.test").info("endpoint applied", extra={"task": "web.1"})
    logging.getLogger("reconciler.test").debug("not shown")
    logging.getLogger("urllib3.connectionpool").info("not shown")
    # An answer that was cut off in its head: whoever asked for it says so.
    logging.getLogger("urllib3.connection").warning("Failed to parse headers", exc_info=True)
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["task"] for line in lines] == ["web.1"]
