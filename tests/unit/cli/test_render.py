"""What reaches a terminal, a pipe and a program."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.printing.render import Answer, Lines, Table, age, clean, render, write

NOW = datetime(2016, 5, 1, 12, tzinfo=UTC)
#: Any text, surrogates and controls of every kind included.
HOSTILE = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["\x1b[2J", "\x9b31m", "a\u202eb", "\u2028", "x\ny", "\r", "\ud800", "[red]x[/red]", ":boom:"]
)


def answer(text: str) -> Answer:
    return Answer(
        {"name": text, "more": [text]},
        (Lines((text, f"line {text}")), Table(("name", "what"), ((text, "x"), ("y", text)))),
    )


@given(text=HOSTILE, width=st.sampled_from([None, 20, 80]))
def test_a_table_has_only_printable_characters_and_newlines(text: str, width: int | None) -> None:
    printed = render(answer(text), "table", width=width, colour=False)
    assert all(char.isprintable() or char == "\n" for char in printed)


@given(text=HOSTILE, output=st.sampled_from(["json", "yaml"]))
def test_json_and_yaml_are_printable_ascii_and_keep_every_string(text: str, output: str) -> None:
    printed = render(answer(text), output, width=None, colour=False)
    assert all(" " <= char <= "~" or char == "\n" for char in printed)
    if output == "json":
        assert json.loads(printed) == answer(text).data
    elif not any("\ud800" <= char <= "\udfff" for char in text):
        assert yaml.safe_load(printed) == answer(text).data


@given(text=HOSTILE, encoding=st.sampled_from(["ascii", "latin-1", "utf-8"]))
def test_any_stream_can_take_an_answer(text: str, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    write(answer(text), "table", stream)
    stream.flush()
    assert raw.getvalue().count(b"\n") >= 6


def test_markup_of_the_table_library_is_just_text() -> None:
    printed = render(answer("[bold]x[/bold] :boom:"), "table", width=None, colour=False)
    assert "[bold]x[/bold] :boom:" in printed


def test_off_a_terminal_there_is_no_colour_no_folding_and_no_trailing_space() -> None:
    long = "x" * 300
    printed = render(answer(long), "table", width=None, colour=False)
    assert "\x1b" not in printed
    assert long in printed
    assert all(line == line.rstrip() for line in printed.splitlines())


def test_colour_only_repeats_the_word() -> None:
    found = Answer([], (Table(("verdict",), (("FAILED",),)), Lines(("DENIED  a -> b",))))
    printed = render(found, "table", width=80, colour=False)
    assert "FAILED" in printed
    assert "DENIED  a -> b" in printed


def test_a_cell_is_not_endless() -> None:
    assert len(clean("y" * 100_000)) <= 400


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        pytest.param(timedelta(seconds=7), "7s", id="seconds"),
        pytest.param(timedelta(minutes=4, seconds=2), "4m02s", id="minutes"),
        pytest.param(timedelta(hours=3, minutes=9), "3h09m", id="hours"),
        pytest.param(timedelta(days=12, hours=1), "12d1h", id="days"),
        pytest.param(timedelta(seconds=-5), "0s", id="another machine's clock is ahead"),
    ],
)
def test_an_age_has_at_most_two_units(ago: timedelta, text: str) -> None:
    assert age((NOW - ago).strftime("%Y-%m-%dT%H:%M:%SZ"), NOW) == text


@pytest.mark.parametrize("since", ["", "yesterday", "\x1b[2J"])
def test_no_time_has_no_age(since: str) -> None:
    assert age(since, NOW) == "-"
