"""Label selectors: `a==b,c!=d,e in (f,g),h notin (i),j`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from demo.marathon.errors import ApiError

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

_WORD = r"(?:[A-Za-z0-9._-]|\\.)+"
_TERM = re.compile(
    rf"\s*(?P<key>{_WORD})\s*(?:(?P<op>==|!=)\s*(?P<value>{_WORD})"
    rf"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?\s*(?:,|$)"
)


def parse_selector(text: str) -> Selector:
    """All terms must hold; a negative one only fits apps that have the label."""
    terms: list[Selector] = []
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise ApiError(422, {"message": f"Label selector is not valid: {text}"})
        terms.append(_term(match))
        position = match.end()
    return lambda labels: all(term(labels) for term in terms)


def _term(match: re.Match[str]) -> Selector:
    key = _plain(match["key"])
    if match["op"] is not None:
        values = {_plain(match["value"])}
    elif match["set"] is not None:
        values = {_plain(word.strip()) for word in match["values"].split(",")}
    else:
        return lambda labels: key in labels
    wanted = match["op"] == "==" or match["set"] == "in"
    return lambda labels: key in labels and (labels[key] in values) is wanted


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
