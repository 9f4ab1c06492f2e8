"""What looks like a secret is replaced, wherever it stands; pure."""

import json
import re
from collections.abc import Collection, Mapping

from reconciler.cli.reading.cluster import OWN_ROOT
from reconciler.logs import without_user

MASK = "***"
#: A secret that is shorter stands in too many words that are none.
SHORTEST = 4

_NAMES = (
    r"passw|passphrase|(?<![a-z])pass(?![a-z])|pwd|secret|credential|authorization|x-auth"
    r"|token|private.?key|api.?key"
)
_NAME = re.compile(_NAMES, re.I)
#: Keys and tasks may be called anything.
_ID = re.compile(r"^/(?:marathon-)?calico/|[._][0-9a-f]{8}-[0-9a-f]{4}-")
#: In a text a path, too: `PATH: WHY` is a reason. It is looked for so far back.
_REASON = re.compile(r"(?:^|(?<![\w./-]))(?:/[\w./-]*|[\w./-]*[._][0-9a-f]{8}-[\w.-]*): $")
_LONGEST_PATH = 300
#: What a text, or one inside a text, gives a name: up to its closing quote, or a
#: word. `refuses these credentials: WHY` is what we ourselves say.
_IS = r"(?<!these credential)[\w.-]{0,40}\\*[\"']?[ \t]*(?:=|:(?!//))[ \t]*[\[({]?"
_QUOTED = r"(\\*[\"']).*?(?:(?<!\\)\2|$)"
_WORD = r"(?:(?!,\")[^\s&])+"
_NAMED = re.compile(rf"((?:{_NAMES}){_IS})(?:{_QUOTED}|{_WORD})", re.I | re.M)
_IN_TEXT = (
    (re.compile(rf"(authorization{_IS})(?:{_QUOTED}|[^\r\n]+)", re.I | re.M), rf"\1{MASK}"),
    (re.compile(r"\b(Basic|Bearer|Digest)\s+[\w.~+/=-]{4,}", re.I), rf"\1 {MASK}"),
    (
        re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(-----END \1-----|\Z)", re.S),
        rf"-----BEGIN \1-----{MASK}",
    ),
)


class Redaction:
    """Masks by name, by form, and every one of some known secrets."""

    def __init__(self, known: Collection[str] = ()) -> None:
        longest_first = sorted(known, key=len, reverse=True)
        self._known = tuple(each for each in longest_first if len(each) >= SHORTEST)

    def text(self, text: str) -> str:
        """Any text."""
        for each in self._known:
            text = text.replace(each, MASK)
        text = without_user(text)
        for pattern, masked in _IN_TEXT:
            text = pattern.sub(masked, text)
        return _NAMED.sub(_mask_named, text)

    def value(self, value: object, *, is_secret: bool = False) -> object:
        """JSON, in which a name may say that what it stands for is a secret."""
        match value:
            case str():
                return MASK if value and is_secret else self._of_string(value)
            case bool():
                return value
            case int() | float():
                return MASK if is_secret else value
            case Mapping():
                named = any(_is_named(value.get(name)) for name in ("name", "key"))
                return {
                    self.text(str(key)): self.value(
                        each,
                        is_secret=is_secret
                        or (named and key == "value")
                        or (_is_named(key) and not _is_lease(key, each)),
                    )
                    for key, each in value.items()
                }
            case list() | tuple():
                return [self.value(each, is_secret=is_secret) for each in value]
            case _:
                return value

    def stored(self, key: str, value: str) -> str:
        """The value of a key, which may be JSON in a text."""
        is_ours = key.startswith(f"{OWN_ROOT}/")
        return str(self.value(value, is_secret=not is_ours and _is_named(key.rpartition("/")[2])))

    def _of_string(self, text: str) -> str:
        if text.lstrip()[:1] not in ("{", "["):
            return self.text(text)
        try:
            return json.dumps(self.value(json.loads(text)))
        except (ValueError, RecursionError):
            return self.text(text)


def _mask_named(found: re.Match[str]) -> str:
    """What a name of a secret stands for in a text is masked; a reason is not."""
    began, named = found.start(), found.group(1)
    if not _REASON.search(found.string[max(0, began - _LONGEST_PATH) : began] + named):
        return named + MASK
    return named + _NAMED.sub(_mask_named, found.group()[len(named) :])


def _is_named(name: object) -> bool:
    """Whether a name says that it stands for a secret."""
    return isinstance(name, str) and bool(_NAME.search(name)) and not _ID.search(name)


def _is_lease(name: object, value: object) -> bool:
    """Whether it is the number of a leader's turn."""
    return name == "token" and isinstance(value, int)
