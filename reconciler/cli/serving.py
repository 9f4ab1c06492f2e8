"""Options of the commands that go on: where they serve their pages, and what they log."""

from collections.abc import Callable
from functools import partial

import click

from reconciler.cli.flags import Parsed
from reconciler.cli.options import Command
from reconciler.logs import FORMS, LEVELS
from reconciler.runtime.listener import ListenAddress, parse_listen


def listen_option(default: ListenAddress, pages: str) -> Callable[[Command], Command]:
    """Give a command `--listen` as the argument `listen: ListenAddress`."""
    return click.option(
        "--listen",
        type=Parsed("HOST:PORT", partial(parse_listen, usual=default.port)),
        default=str(default),
        show_default=True,
        help=f"Where {pages} are served; port 0 is any free one.",
    )


def log_options(command: Command) -> Command:
    """Give a command `--log-level` and `--log-format` as arguments of these names."""
    with_format = click.option(
        "--log-format",
        type=click.Choice(FORMS),
        default="text",
        show_default=True,
        help="One line of text or of JSON per record.",
    )(command)
    return click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        default="info",
        show_default=True,
        help="What is told on standard error.",
    )(with_format)
