"""What may go wrong with Marathon, in the words an operator needs."""

_LONGEST_QUOTE = 160


class MarathonError(Exception):
    """Root of every error of this package; its text is one line."""


class MarathonUnavailable(MarathonError):
    """Transient: no usable answer came; what was known before still holds."""


class MarathonRejected(MarathonError):
    """Lasting: Marathon understood and refused; asking again will not help."""


class InvalidApp(MarathonRejected):
    """Marathon knows the app, but its description cannot be understood."""


class InvalidUrl(MarathonError, ValueError):
    """A URL that cannot name a Marathon."""


def one_line(text: str) -> str:
    """Foreign text without control characters, cut to the length of a quote."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST_QUOTE])
    clean = " ".join(clean.split())
    return clean if len(clean) <= _LONGEST_QUOTE else clean[: _LONGEST_QUOTE - 3] + "..."


def all_failed(errors: list[MarathonError]) -> MarathonError:
    """One error that speaks for all: transient if any of them is."""
    messages = list(dict.fromkeys(str(error) for error in errors))
    text = "; ".join(messages) or "no Marathon URL is given: list at least one"
    if any(isinstance(error, MarathonUnavailable) for error in errors):
        return MarathonUnavailable(text)
    return MarathonRejected(text)
