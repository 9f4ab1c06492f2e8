"""Tells what happens: a spinner on a terminal, a line per finished step everywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text


class Narrator:
    """Writes the story to one console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._doing = ""
        self._status = None if not console.is_terminal else console.status("")

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Say what is being done, and when it is done how long it took."""
        begin = time.monotonic()
        self._doing = doing
        if self._status is not None:
            self._status.update(Text(doing))
            self._status.start()
        try:
            yield
        finally:
            if self._status is not None:
                self._status.stop()
        # Reached only if nothing went wrong.
        self._console.print(f"  {time.monotonic() - begin:5.1f} s  {doing}")

    def progress(self, detail: str) -> None:
        """Refine what the spinner says; a file is told only the end."""
        if self._status is not None:
            self._status.update(Text(f"{self._doing}: {detail}"))

    def heading(self, text: str) -> None:
        """Begin a chapter."""
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(f"  {text}")

    def quote(self, text: str) -> None:
        """What another program wrote, as it stands."""
        for line in text.rstrip().splitlines():
            self._console.print(Text(f"  {line}"))

    def show(self, table: RenderableType) -> None:
        """A table, with room around it."""
        with self._console.capture() as captured:
            self._console.print(Padding(table, (0, 0, 0, 2)))
        lines = [line.rstrip() for line in captured.get().splitlines()]
        self._console.print()
        for line in lines:
            # Rendered already: colours and all.
            self._console.out(line, highlight=False)
        self._console.print()
