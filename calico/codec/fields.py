"""JSON text to plain values of known type; every failure is InvalidValue."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from calico.errors import InvalidValue

T = TypeVar("T")

_SHOWN = 60
_ENCODER = json.JSONEncoder(sort_keys=True)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def parse_json(text: str) -> Any:
    """Any JSON value; a lone NaN or a bottomless nest is none."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"not JSON: {_shown(text)}") from error


def parse_object(text: str) -> Mapping[str, Any]:
    """A JSON object."""
    return as_object(parse_json(text), "the value")


def render_json(value: object) -> str:
    """Equal values are equal text: ASCII, keys sorted."""
    return _ENCODER.encode(value)


def _as(kind: type[T], value: object, name: str, expected: str) -> T:
    # Its very type: bool is an int to Python, never to JSON.
    if type(value) is not kind:
        raise InvalidValue(f"{name} must be {expected}, not {_shown(value)}")
    return value


def as_text(value: object, name: str) -> str:
    """A string that UTF-8 can carry."""
    text = _as(str, value, name, "a string")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(f"{name} must be valid Unicode, not {_shown(value)}") from error
    return text


def as_int(value: object, name: str) -> int:
    """A whole number."""
    return _as(int, value, name, "a whole number")


def as_bool(value: object, name: str) -> bool:
    """true or false."""
    return _as(bool, value, name, "true or false")


def as_object(value: object, name: str) -> Mapping[str, Any]:
    """A JSON object."""
    return _as(dict, value, name, "an object")


def as_list(value: object, name: str) -> list[Any]:
    """A JSON array."""
    return _as(list, value, name, "a list")


def as_tuple(value: object, name: str, item: Callable[[object, str], T]) -> tuple[T, ...]:
    """A JSON array of one kind of value."""
    return tuple(item(each, name) for each in as_list(value, name))


def as_text_pairs(value: object, name: str) -> tuple[tuple[str, str], ...]:
    """A JSON object of strings, sorted by key."""
    pairs = as_object(value, name).items()
    return tuple(sorted((as_text(key, name), as_text(each, name)) for key, each in pairs))
