"""What looks like a secret is replaced, wherever it stands; pure."""

import json
import re
from collections.abc import Collection, Mapping

MASK = "***"
#: A secret that is shorter stands in too many words that are none.
SHORTEST = 4

_NAME = re.compile(r"passw|secret|credential|authorization|token|private.?key|api.?key", re.I)
_IN_TEXT = (
    (re.compile(r"://[^/@\s\"]+@"), f"://{MASK}@"),
    (re.compile(r"\b(Basic|Bearer)\s+[\w.~+/=-]{4,}", re.I), rf"\1 {MASK}"),
    (re.compile(r"\btoken=[^\s\"&,;]+", re.I), f"token={MASK}"),
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
        for pattern, masked in _IN_TEXT:
            text = pattern.sub(masked, text)
        return text

    def value(self, value: object, name: str = "") -> object:
        """JSON, in which a name may say that what it stands for is a secret.

        Numbers stay: those of that name are the lease's.
        """
        match value:
            case str():
                return MASK if value and _NAME.search(name) else self._of_string(value)
            case Mapping():
                return {
                    self.text(str(key)): self.value(each, f"{name}/{key}")
                    for key, each in value.items()
                }
            case list() | tuple():
                return [self.value(each, name) for each in value]
            case _:
                return value

    def stored(self, key: str, value: str) -> str:
        """The value of a key, which may be JSON in a text."""
        masked = self.value(value, key.rpartition("/")[2])
        return str(masked)

    def _of_string(self, text: str) -> str:
        if text[:1] not in ("{", "["):
            return self.text(text)
        try:
            return json.dumps(self.value(json.loads(text)))
        except (ValueError, RecursionError):
            return self.text(text)
