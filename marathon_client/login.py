"""DC/OS service accounts: a signed word about who asks becomes a token for a while.

The one door to PyJWT, which an installation without such an account lacks.
"""

import re
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
import requests

from marathon_client.endpoints import ServiceAccount
from marathon_client.errors import MarathonError, MarathonRejected, MarathonUnavailable
from marathon_client.wire import DECODE_ERRORS

#: Seconds that our signed word is good for, and the life that is asked for a token.
SIGNED_FOR = 60
LIFE = 3600
#: A token is renewed so long before its end; and a login follows another no sooner.
MARGIN = 60.0
MOST_BYTES = 64 * 1024
_TOKEN = re.compile(r"[\x21-\x7e]+")

REMEDY = "check what --marathon-credentials names"


class _Reply(msgspec.Struct):
    token: str


class Post(Protocol):
    """Sends JSON to a URL; may raise what requests raises."""

    def __call__(self, url: str, body: bytes) -> requests.Response:
        """The reply once its headers are here."""
        ...


class Login:
    """The token that one thread uses; its clocks are steady and of the wall."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._token: str | None = None
        self._asked_at = 0.0
        self._good_until = 0.0
        self._refusal: MarathonError | None = None

    def authorization(self, account: ServiceAccount, post: Post) -> str:
        """The value of the header, after a login if the token ends soon.

        Raises MarathonError; a login that was refused is not repeated for a
        while, since whoever guesses keys is locked out.
        """
        now = self._clock()
        if self._token is None or now >= self._good_until:
            if self._refusal is not None and now - self._asked_at < MARGIN:
                raise self._refusal
            self._token, self._refusal = None, None
            self._asked_at = now
            try:
                self._token = self._ask(account, post)
            except MarathonRejected as error:
                self._refusal = error
                raise
            self._good_until = now + max(self._life(self._token) - MARGIN, MARGIN)
        return f"token={self._token}"

    def forget(self) -> bool:
        """Drop a token that was refused; False if it is too new for another to help."""
        if self._token is None or self._clock() - self._asked_at < MARGIN:
            return False
        self._token = None
        return True

    def _ask(self, account: ServiceAccount, post: Post) -> str:
        now = int(self._wall())
        signed = sign({"uid": account.uid, "exp": now + SIGNED_FOR}, account.private_key)
        body = {"uid": account.uid, "token": signed, "exp": now + LIFE}
        with post(account.login_url, msgspec.json.encode(body)) as response:
            status = response.status_code
            content = bytearray()
            for chunk in response.iter_content(MOST_BYTES):
                content += chunk
                if len(content) > MOST_BYTES:
                    break
        where = f"the login at {account.login_url}"
        if status in {400, 401, 403}:
            raise MarathonRejected(f"{where} refuses the service account ({status}): {REMEDY}")
        if status != 200:
            raise MarathonUnavailable(f"{where} answers {status}: {REMEDY}")
        try:
            token = msgspec.json.decode(bytes(content), type=_Reply).token
        except DECODE_ERRORS:
            token = ""
        if not _TOKEN.fullmatch(token):
            raise MarathonUnavailable(f"{where} answers no token: {REMEDY}")
        return token

    def _life(self, token: str) -> float:
        """Seconds that a token lives, as far as it says so itself."""
        import jwt  # noqa: PLC0415 - an extra

        try:
            told = jwt.decode(token, options={"verify_signature": False}).get("exp")
        except jwt.PyJWTError:
            return LIFE
        return float(told) - self._wall() if isinstance(told, int | float) else LIFE


def sign(claims: dict[str, object], private_key: str) -> str:
    """A signed word; raises MarathonRejected with one line that quotes no key."""
    try:
        import jwt  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MarathonRejected(
            "a service account needs PyJWT: install the extra dcos, as by pip install '.[dcos]'"
        ) from error
    try:
        return jwt.encode(claims, private_key, algorithm="RS256")
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
        # What they say may quote the key.
        raise MarathonRejected(f"the service account's key is no RSA key: {REMEDY}") from None
