"""Logging for people and machines: one line per record, nothing foreign in it raw."""

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")
FORMS = ("text", "json")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_NAME = re.compile(r"passw|secret|credential|authorization", re.IGNORECASE)
#: All before the last `@` of a URL, also behind a `/` where a password may have
#: one, but not behind a port: `http://host:80/a@b` has no user.
_USER_IN_URL = re.compile(
    r"://(?:(?!\[)[^/\s:@\"]+:(?!\d{1,5}(?:[/?#,;]|$))(?:(?!://|\"[,:\]}])\S)*"
    r"|(?:(?!\"[,:\]}])[^/\s])*)@"
)
_PLAIN = re.compile(r"[^\s\"'=\\]+")
#: Libraries that tell of every request; what they do is logged where it is handled.
_TALKATIVE = ("etcd", "pyroute2", "requests", "asyncio")
#: It also warns of each answer that is cut off in its head, with a traceback.
_ALARMED = "urllib3"


def setup(level: str, form: str, stream: TextIO) -> None:
    """Send all records of a level and above to a stream, as `text` or `json`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for earlier in tuple(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.getLogger(_ALARMED).setLevel(logging.ERROR)


class TextFormatter(logging.Formatter):
    """`TIME LEVEL message key=value ...`; values that are no single word are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the fields contain."""
        fields = " ".join(f"{name}={_word(value)}" for name, value in _fields(record))
        message = _escaped(without_user(record.getMessage()))
        return f"{_time(record)} {record.levelname.lower():<7} {message} {fields}".rstrip()


class JsonFormatter(logging.Formatter):
    """One JSON object per line: message, the fields, level, logger, time."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII."""
        return json.dumps(
            {
                "message": without_user(record.getMessage()),
                **dict(_fields(record)),
                "level": record.levelname.lower(),
                "logger": record.name,
                "time": _time(record),
            }
        )


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """What was given as `extra`, in its order, then the traceback if there is one."""
    for name, value in vars(record).items():
        if name in _STANDARD:
            continue
        if _SECRET_NAME.search(name):
            yield name, "***"
        elif value is None or isinstance(value, bool | int | float):
            yield name, value
        else:
            yield name, without_user(str(value))
    if record.exc_info:
        text = logging.Formatter().formatException(record.exc_info)
        yield "traceback", without_user(text)


def without_user(text: str) -> str:
    """A text in which no URL names a user any more."""
    return _USER_IN_URL.sub("://***@", text)


def _word(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _escaped(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]
