"""Options that several commands share, and what they are read into.

Imported by the agent's command too, hence free of rich and of PyYAML.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import click

from calico.datastore.api import Fence, unfenced
from calico.datastore.members import ETCD_PORT, Failover, TlsFiles
from reconciler.cli.credentials import credentials_option, with_user
from reconciler.cli.flags import ServerUrl, without_credentials

if TYPE_CHECKING:
    from calico.datastore.etcd import EtcdDatastore

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_ETCD = f"http://127.0.0.1:{ETCD_PORT}"


class FirstOwnVariable(click.Option):
    """An option whose own environment variable wins over the shared ones."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """MARATHON_CALICO_<COMMAND>_<FLAG> is the narrowest, so it comes first."""
        if ctx.auto_envvar_prefix is not None and self.name is not None:
            own = f"{ctx.auto_envvar_prefix}_{self.name.upper()}"
            value = click.Option([f"--{self.name}"], envvar=own).resolve_envvar_value(ctx)
            if value is not None:
                return value
        return super().resolve_envvar_value(ctx)


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """How etcd is reached; the TLS fields are paths of PEM files, empty for none.

    The URLs hold user and password, hence no repr shows them.
    """

    urls: tuple[str, ...] = field(default=(DEFAULT_ETCD,), repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""
    #: Clients of one process share which member failed.
    failover: Failover = field(default_factory=Failover, repr=False, compare=False)

    def open(self, fence: Fence = unfenced) -> EtcdDatastore:
        """A client for these servers; nothing is sent yet.

        `fence` is called just before each attempt of a write, and may raise.
        """
        from calico.datastore.etcd import EtcdDatastore  # noqa: PLC0415 - start-up

        tls = TlsFiles(ca=self.ca, cert=self.cert, key=self.key)
        known = tls if self.ca or self.cert else None
        return EtcdDatastore(self.urls, tls=known, fence=fence, failover=self.failover)

    @property
    def secrets(self) -> frozenset[str]:
        """The passwords, as they are and as they stand in a URL."""
        given = {urlsplit(url).password or "" for url in self.urls}
        return frozenset(each for text in given for each in (text, unquote(text)) if each)

    def __str__(self) -> str:
        """The servers for a message; user names and passwords are left out."""
        return ", ".join(without_credentials(url) for url in self.urls)


def etcd_options(command: Command) -> Command:
    """Give a command all flags on etcd as one argument, `etcd: EtcdSettings`."""

    @functools.wraps(command)
    def with_settings(
        *args: Any,
        etcd: tuple[str, ...],
        etcd_ca: str | None,
        etcd_cert: str | None,
        etcd_key: str | None,
        etcd_credentials: tuple[str, str] | None,
        **others: Any,
    ) -> Any:
        if bool(etcd_cert) != bool(etcd_key):
            raise click.UsageError("--etcd-cert and --etcd-key belong together")
        settings = EtcdSettings(
            urls=tuple(with_user(url, etcd_credentials) for url in etcd or (DEFAULT_ETCD,)),
            ca=etcd_ca or "",
            cert=etcd_cert or "",
            key=etcd_key or "",
        )
        return command(*args, etcd=settings, **others)

    servers = click.option(
        "--etcd",
        cls=FirstOwnVariable,
        type=ServerUrl(DEFAULT_ETCD, credentials="--etcd-credentials"),
        multiple=True,
        envvar=["MARATHON_CALICO_ETCD", "ETCD_ENDPOINTS", "ETCD_AUTHORITY"],
        help=f"Server of etcd; may be repeated.  [default: {DEFAULT_ETCD}]",
    )
    ca = _file_option("ca", "ETCD_CA_CERT_FILE", "Certificate authority of etcd's server.")
    cert = _file_option("cert", "ETCD_CERT_FILE", "Client certificate for etcd.")
    key = _file_option("key", "ETCD_KEY_FILE", "Private key of the client certificate.")
    user = credentials_option(
        "--etcd-credentials",
        "etcd",
        cls=FirstOwnVariable,
        envvar=["MARATHON_CALICO_ETCD_CREDENTIALS"],
    )
    return servers(user(ca(cert(key(with_settings)))))  # type: ignore[no-any-return]  # click's are untyped


def _file_option(name: str, variable: str, text: str) -> Callable[[Any], Any]:
    return click.option(
        f"--etcd-{name}",
        cls=FirstOwnVariable,
        type=click.Path(exists=True, dir_okay=False),
        envvar=[f"MARATHON_CALICO_ETCD_{name.upper()}", variable],
        help=text,
    )


def output_option(command: Command) -> Command:
    """Give a command `-o table|json|yaml` as the argument `output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print the answer.",
    )(command)
