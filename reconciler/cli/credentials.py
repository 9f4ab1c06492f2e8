"""User and password for a server: from a file that nobody else may read.

Imported by the agent's command too, hence free of rich and of PyYAML.
"""

import os
import stat
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import click

from reconciler.cli.flags import Parsed

T = TypeVar("T")

#: No pair and no key is longer.
LARGEST = 64 * 1024
EXAMPLE = "USER:PASSWORD"


def read_secret(path: str) -> str:
    """The text of a file that only its owner, who is root or ourselves, may read.

    Raises ValueError with a sentence that names the file, never what is in it.
    """
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{path!r} is no file")
            if found.st_mode & 0o077:
                raise ValueError(f"{path!r} may be read by others: chmod 600 it")
            if found.st_uid not in (0, os.geteuid()):
                raise ValueError(f"{path!r} belongs to another user: chown it")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(
            f"{path!r} cannot be read ({error.strerror}): write {EXAMPLE} into it, chmod 600"
        ) from error
    if len(content) > LARGEST:
        raise ValueError(f"{path!r} is too long: write {EXAMPLE} into it")
    try:
        return content.decode()
    except UnicodeDecodeError:
        # What it says would quote a byte of it.
        raise ValueError(f"{path!r} is no text: write {EXAMPLE} into it") from None


def parse_user(text: str) -> tuple[str, str]:
    """User and password of one line; a password may have colons.

    Raises ValueError with a sentence that quotes nothing of it.
    """
    user, colon, password = text.strip("\r\n").partition(":")
    if not user or not colon or not (user + password).isprintable():
        raise ValueError(f"it has to be one line, {EXAMPLE}")
    return user, password


def read_user(path: str) -> tuple[str, str]:
    """User and password from a file; raises ValueError with a sentence that names it."""
    return read_parsed(path, parse_user)


def read_parsed(path: str, parse: Callable[[str], T]) -> T:
    """What a secret file holds; raises ValueError with a sentence that names the file."""
    text = read_secret(path)
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{path!r}: {error}") from None


def with_user(url: str, user: tuple[str, str] | None) -> str:
    """The URL with user and password, unless it has some of its own."""
    parts = urlsplit(url)
    if user is None or "@" in parts.netloc:
        return url
    pair = ":".join(quote(each, safe="") for each in user)
    return parts._replace(netloc=f"{pair}@{parts.netloc}").geturl()


def credentials_option(flag: str, servers: str, **attributes: Any) -> Callable[[Any], Any]:
    """A flag that names the file of user and password for some servers."""
    return click.option(
        flag,
        type=Parsed("FILE", read_user),
        help=f"File with {EXAMPLE} for {servers}, which only its owner may read.",
        **attributes,
    )
