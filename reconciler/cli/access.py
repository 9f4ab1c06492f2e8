"""Options on Marathon's TLS, and on who we are to it."""

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from marathon_client.endpoints import Credentials, Identity, parse_service_account
from marathon_client.errors import MarathonRejected
from marathon_client.login import sign
from reconciler.cli.credentials import EXAMPLE, parse_user, read_parsed
from reconciler.cli.options import FirstOwnVariable

#: Where DC/OS puts the secret of an app's service account.
DCOS_VARIABLE = "DCOS_SERVICE_ACCOUNT_CREDENTIAL"


class _IdentityFile(click.ParamType[Identity]):
    """A file with user and password or a service account; the environment may hold the latter."""

    name = "FILE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Identity:
        """Read and try what is there; what is refused is not quoted."""
        text = str(value)
        try:
            if not text.lstrip().startswith("{"):
                return read_parsed(text, _parse_identity)
            if param is None or ctx is None or _of_command_line(param, ctx):
                self.fail("every user of this machine sees the key here; name a file", param, ctx)
            return _parse_identity(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _of_command_line(param: click.Parameter, ctx: click.Context) -> bool:
    name = param.name or ""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _parse_identity(text: str) -> Identity:
    if not text.lstrip().startswith("{"):
        return Credentials(*parse_user(text))
    account = parse_service_account(text)
    try:
        # A key that cannot sign is told now, not when Marathon is asked.
        sign({}, account.private_key)
    except MarathonRejected as error:
        raise ValueError(str(error)) from None
    return account


def marathon_access_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--marathon-credentials`, `-ca`, `-cert` and `-key`."""
    for flag, text in (
        ("--marathon-key", "Private key of the client certificate."),
        ("--marathon-cert", "Client certificate for Marathon."),
        ("--marathon-ca", "Certificate authority of Marathon.  [default: the usual ones]"),
    ):
        command = click.option(flag, type=click.Path(exists=True, dir_okay=False), help=text)(
            command
        )
    return click.option(
        "--marathon-credentials",
        cls=FirstOwnVariable,
        type=_IdentityFile(),
        envvar=[DCOS_VARIABLE],
        help=f"File with {EXAMPLE} for Marathon, or with the JSON of a DC/OS service account,"
        " which only its owner may read.",
    )(command)
