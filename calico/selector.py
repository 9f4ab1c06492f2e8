"""Calico's selectors: text to an expression, and whom it selects; pure.

The grammar is that of both families in 2015 to 2017: comparisons with `==`,
`!=`, `in` and `not in`, `has()`, `all()`, `!`, `&&`, `||` and parentheses.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from calico.errors import InvalidValue

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HasLabel:
    """The label is there, whatever its value."""

    label: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """The label is there and has one of these values."""

    label: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Not:
    """What the inner expression does not select."""

    inner: "Selector"


@dataclass(frozen=True, slots=True)
class AllOf:
    """What every part selects; without parts, everything."""

    parts: tuple["Selector", ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """What some part selects."""

    parts: tuple["Selector", ...]


Selector = HasLabel | OneOf | Not | AllOf | AnyOf


def selects(selector: Selector, labels: Labels) -> bool:
    """Whether something that carries these labels is meant."""
    match selector:
        case HasLabel(label):
            return label in labels
        case OneOf(label, values):
            return labels.get(label) in values
        case Not(inner):
            return not selects(inner, labels)
        case AllOf(parts):
            return all(selects(each, labels) for each in parts)
        case AnyOf(parts):
            return any(selects(each, labels) for each in parts)
        case _:
            assert_never(selector)


#: Far deeper than anybody writes by hand.
_DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?: '(?P<single>[^']*)' | "(?P<double>[^"]*)"
        | (?P<sign> == | != | && | \|\| | [!(){},] )
        | (?P<word> [a-zA-Z0-9_./-]+ ) )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    """A sign, a word or a quoted text; the end is a sign without characters."""

    kind: str
    text: str


_END = _Token("sign", "")


def parse_selector(text: str) -> Selector:
    """The expression; an empty text is everything. Raises InvalidValue."""
    tokens = _Tokens(text)
    if tokens.next == _END:
        return AllOf()
    found = _any_of(tokens, 0)
    if tokens.next != _END:
        raise tokens.unexpected()
    return found


class _Tokens:
    """The tokens of one text, read one by one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokenize(text)
        self.next = next(self._tokens)

    def take(self) -> _Token:
        """The next token, which is then the one before."""
        taken = self.next
        self.next = next(self._tokens, _END)
        return taken

    def takes(self, sign: str) -> bool:
        """Take a sign if it comes next."""
        if self.next != _Token("sign", sign):
            return False
        self.take()
        return True

    def expect(self, sign: str) -> None:
        """Take a sign, which must come next."""
        if not self.takes(sign):
            raise self.unexpected()

    def take_kind(self, kind: str) -> str:
        """Take a word or a text, which must come next."""
        if self.next.kind != kind:
            raise self.unexpected()
        return self.take().text

    def unexpected(self) -> InvalidValue:
        """What to raise at the next token."""
        where = repr(self.next.text) if self.next != _END else "its end"
        return InvalidValue(f"selector {_shown(self._text)} is not understood at {where}")


def _tokenize(text: str) -> Iterator[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise InvalidValue(
                f"selector {_shown(text)} is not understood at {text[position:].strip()[:1]!r}"
            )
        position = found.end()
        for kind in ("single", "double", "sign", "word"):
            value = found[kind]
            if value is not None:
                yield _Token("text" if kind in ("single", "double") else kind, value)
    yield _END


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _any_of(tokens: _Tokens, depth: int) -> Selector:
    parts = [_all_of(tokens, depth)]
    while tokens.takes("||"):
        parts.append(_all_of(tokens, depth))
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _all_of(tokens: _Tokens, depth: int) -> Selector:
    parts = [_term(tokens, depth)]
    while tokens.takes("&&"):
        parts.append(_term(tokens, depth))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _term(tokens: _Tokens, depth: int) -> Selector:
    if depth > _DEEPEST:
        raise InvalidValue(f"a selector is nested more than {_DEEPEST} deep")
    if tokens.takes("!"):
        return Not(_term(tokens, depth + 1))
    if tokens.takes("("):
        inner = _any_of(tokens, depth + 1)
        tokens.expect(")")
        return inner
    word = tokens.take_kind("word")
    if word == "all" and tokens.takes("("):
        tokens.expect(")")
        return AllOf()
    if word == "has" and tokens.takes("("):
        label = tokens.take_kind("word")
        tokens.expect(")")
        return HasLabel(label)
    return _comparison(tokens, word)


def _comparison(tokens: _Tokens, label: str) -> Selector:
    """What comes after a label; a negated comparison holds without the label too."""
    if tokens.takes("=="):
        return OneOf(label, frozenset({tokens.take_kind("text")}))
    if tokens.takes("!="):
        return Not(OneOf(label, frozenset({tokens.take_kind("text")})))
    if tokens.next == _Token("word", "in"):
        tokens.take()
        return OneOf(label, _values(tokens))
    if tokens.next == _Token("word", "notin"):
        # Go asks for no space between the two.
        tokens.take()
        return Not(OneOf(label, _values(tokens)))
    if tokens.next == _Token("word", "not"):
        tokens.take()
        if tokens.next == _Token("word", "in"):
            tokens.take()
            return Not(OneOf(label, _values(tokens)))
    raise tokens.unexpected()


def _values(tokens: _Tokens) -> frozenset[str]:
    tokens.expect("{")
    if tokens.takes("}"):
        return frozenset()
    values = {tokens.take_kind("text")}
    while tokens.takes(","):
        values.add(tokens.take_kind("text"))
    tokens.expect("}")
    return frozenset(values)
