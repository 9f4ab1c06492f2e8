"""One value of an operator's file, checked; each raises InvalidValues that names the value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_APP_ID = re.compile(r"(/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)+")
#: The user part of a URL, which other users of the host would see in the process list.
_CREDENTIALS = re.compile(r"://[^/\s]*@")


class InvalidValues(ValueError):
    """A value that no app can be made of; the text is one line that names it."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(each if each.isprintable() else "?" for each in text))


def parse_text(path: str, value: Any) -> str:
    """Any text but an empty one."""
    if not isinstance(value, str) or not value:
        raise InvalidValues(f"{path}: not a text")
    if "\0" in value:
        raise InvalidValues(f"{path}: no program can be given a NUL character")
    return value


def parse_word(path: str, value: Any) -> str:
    """A text without blanks."""
    text = parse_text(path, value)
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        raise InvalidValues(f"{path}: there must be no blanks in it")
    return text


def parse_path(path: str, value: Any) -> str:
    """An absolute path that a volume may be named by."""
    text = parse_word(path, value)
    if not text.startswith("/") or ":" in text:
        raise InvalidValues(f"{path}: not an absolute path")
    return text


def parse_url(path: str, value: Any) -> str:
    """A URL of a server."""
    text = parse_word(path, value)
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or "," in text:
        raise InvalidValues(f"{path}: not a URL such as http://10.0.0.1:2379")
    return text


def parse_argument(path: str, value: Any) -> str:
    """One argument of a command, which other users of the host may see."""
    text = parse_text(path, value)
    if _CREDENTIALS.search(text):
        raise InvalidValues(f"{path}: a URL with a password belongs in secrets or env")
    return text


def parse_app_id(path: str, value: Any) -> str:
    """An absolute id of an app."""
    text = parse_text(path, value)
    if not _APP_ID.fullmatch(text):
        raise InvalidValues(f"{path}: not an app id such as /marathon-calico/agent")
    return text


def parse_number(path: str, value: Any) -> float:
    """A number of at least zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValues(f"{path}: not a number")
    if value < 0:
        raise InvalidValues(f"{path}: must not be negative")
    return value


def parse_share(path: str, value: Any) -> float:
    """A part of a whole."""
    number = parse_number(path, value)
    if number > 1:
        raise InvalidValues(f"{path}: must be within 0 and 1")
    return number


def whole_number(least: int, most: int) -> Callable[[str, Any], int]:
    """Whole numbers from `least` to `most`."""

    def parse(path: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidValues(f"{path}: not a whole number")
        if not least <= value <= most:
            raise InvalidValues(f"{path}: must be within {least} and {most}")
        return value

    return parse


def one_of(*known: str) -> Callable[[str, Any], str]:
    """One of a few words."""

    def parse(path: str, value: Any) -> str:
        if value not in known:
            raise InvalidValues(f"{path}: must be one of {', '.join(known)}")
        return str(value)

    return parse


def optional(parse: Callable[[str, Any], T]) -> Callable[[str, Any], T | None]:
    """What may also be null."""
    return lambda path, value: None if value is None else parse(path, value)


def list_of(parse: Callable[[str, Any], T]) -> Callable[[str, Any], tuple[T, ...]]:
    """A list of such values, each of which names itself."""

    def parse_all(path: str, value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidValues(f"{path}: not a list")
        return tuple(parse(f"{path}[{index}]", each) for index, each in enumerate(value))

    return parse_all


def parse_mapping(path: str, value: Any) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, Mapping):
        raise InvalidValues(f"{path}: not an object")
    return value


def parse_texts(path: str, value: Any) -> Mapping[str, str]:
    """A JSON object of texts."""
    for key, text in parse_mapping(path, value).items():
        if not isinstance(key, str) or not isinstance(text, str) or "\0" in key + text:
            raise InvalidValues(f"{path}.{key}: not a text")
    return dict(value)


def parse_variables(path: str, value: Any) -> Mapping[str, str]:
    """Environment variables."""
    texts = parse_texts(path, value)
    for name in texts:
        if not _VARIABLE.fullmatch(name):
            raise InvalidValues(f"{path}: {name!r} is no name of an environment variable")
    return texts


def parse_secrets(path: str, value: Any) -> Mapping[str, str]:
    """Environment variables, each with the name of its secret."""
    secrets = parse_variables(path, value)
    for name, source in secrets.items():
        parse_text(f"{path}.{name}", source)
    return secrets


def parse_constraint(path: str, value: Any) -> tuple[str, ...]:
    """One of Marathon's placement constraints."""
    words = list_of(parse_text)(path, value)
    if not 2 <= len(words) <= 3:
        raise InvalidValues(f"{path}: not a constraint such as [rack, GROUP_BY]")
    return words
