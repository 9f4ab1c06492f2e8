"""Certificates as an operator makes them, by openssl, in a folder of the test's own."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_CA = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    cert: str
    key: str


class Authority:
    """One that signs whatever it is asked to; nobody trusts it but who is told to."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl: install it")
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._pair = Pair(str(directory / "ca.pem"), str(directory / "ca.key"))
        _openssl("req", "-x509", *_new_key(self._pair, "authority"), *_extensions(_CA))

    @property
    def file(self) -> str:
        """What others are given to trust this one by."""
        return self._pair.cert

    def sign(self, name: str, alternative: str = "IP:127.0.0.1") -> Pair:
        """A certificate for both ends, valid for that alternative name."""
        made = Pair(str(self._directory / f"{name}.pem"), str(self._directory / f"{name}.key"))
        extensions = (
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature,keyEncipherment",
            "extendedKeyUsage=serverAuth,clientAuth",
            f"subjectAltName={alternative}",
        )
        request = self._directory / f"{name}.csr"
        said = self._directory / f"{name}.ext"
        said.write_text("\n".join((*extensions, "authorityKeyIdentifier=keyid")))
        _openssl("req", "-new", *_new_key(Pair(str(request), made.key), name))
        _openssl(
            *("x509", "-req", "-days", "2", "-set_serial", str(hash(name) & 0xFFFFFF | 1)),
            *("-in", str(request), "-out", made.cert, "-extfile", str(said)),
            *("-CA", self._pair.cert, "-CAkey", self._pair.key),
        )
        return made


def serving(pair: Pair, clients: Authority | None = None) -> ssl.SSLContext:
    """A server's side; with `clients` it talks only to those that they have signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _new_key(pair: Pair, name: str) -> tuple[str, ...]:
    # A curve's key takes no time to make.
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    return (*kind, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", pair.cert)


def _extensions(extensions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for each in extensions for word in ("-addext", each))


def _openssl(*arguments: str) -> None:
    binary = shutil.which("openssl") or "openssl"
    subprocess.run([binary, *arguments], check=True, capture_output=True, timeout=30)
