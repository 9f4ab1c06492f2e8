"""How the texts of flags are read: each wrong one is refused with flag, value and remedy.

Imported by the agent's command too, hence free of rich and of PyYAML.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import click
from click.core import ParameterSource

from calico.errors import CalicoError
from calico.iptext import is_host, parse_address, parse_network
from reconciler.attach.install import check_network
from reconciler.attach.listening import LONGEST_PATH


class Parsed(click.ParamType[Any]):
    """A flag whose text one of our own functions reads; a wrong one names the flag.

    `example` is told where the function's message does not say what to write,
    `credentials` is the flag for what must not stand in a URL on the command line.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], object],
        example: str = "",
        *,
        credentials: str = "",
    ) -> None:
        self.name = name
        self._parse = parse
        self._remedy = f"; write it as {example}" if example else ""
        self._credentials = credentials

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        try:
            parsed = self._parse(str(value))
        except (ValueError, CalicoError) as error:
            self.fail(f"{error}{self._remedy}", param, ctx)
        if self._credentials and _shows_user(str(value), param, ctx):
            self.fail(_not_here(str(value), self._credentials), param, ctx)
        return parsed


class ServerUrl(click.ParamType[str]):
    """`http(s)://HOST`, with or without a port; HOST:PORT, as in ETCD_AUTHORITY, is http.

    The `example` has the port of a server that none is named for, `credentials`
    is the flag for what must not stand in a URL on the command line.
    """

    name = "URL"

    def __init__(self, example: str, *, credentials: str) -> None:
        self._example = example
        self._credentials = credentials

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Reject what is no URL of a host here, where the flag can be named."""
        text = str(value).strip()
        try:
            server = _server(text, default_port=urlsplit(self._example).port)
        except ValueError:
            # What stands before an @ may be a password.
            shown = text.rpartition("@")[2]
            self.fail(f"{shown!r} is not a URL such as {self._example}", param, ctx)
        if _shows_user(server, param, ctx):
            self.fail(_not_here(server, self._credentials), param, ctx)
        return server

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Calico separates by commas, click by spaces; both are understood."""
        return rv.replace(",", " ").split()


def _server(text: str, default_port: int | None) -> str:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or not is_host(parts.hostname or ""):
        raise ValueError("neither scheme nor host")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.port == 0:
        raise ValueError("more than a server")
    # One word is rather a slip than a host: nobody would tell it until it is asked.
    if parts.port is None and "://" not in text:
        raise ValueError("neither scheme nor port")
    port = "" if parts.port is not None else f":{default_port}"
    return f"{parts.scheme}://{parts.netloc.rstrip(':')}{port}"


def _shows_user(url: str, param: click.Parameter | None, ctx: click.Context | None) -> bool:
    """Whether user and password stand where `ps` tells them to everybody."""
    if param is None or ctx is None or param.name is None:
        return False
    source = ctx.get_parameter_source(param.name)
    return source is ParameterSource.COMMANDLINE and "@" in urlsplit(url).netloc


def _not_here(url: str, credentials: str) -> str:
    return (
        f"every user of this machine sees the user and password for {without_credentials(url)!r}"
        f" here; name a file with USER:PASSWORD by {credentials}"
    )


def without_credentials(url: str) -> str:
    """The URL less its user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _parse_socket(text: str) -> Path:
    size = len(os.fsencode(text))
    if not 0 < size <= LONGEST_PATH:
        raise ValueError(f"{text!r} is no path of a socket, which has 1 to {LONGEST_PATH} bytes")
    return Path(text)


ADDRESS = Parsed("IP", parse_address, "10.0.0.5")
CIDR = Parsed("CIDR", parse_network, "10.0.0.0/8")
NETWORK_NAME = Parsed("NAME", check_network)
SOCKET_PATH = Parsed("PATH", _parse_socket)
