"""The thin side of both plugins: hand a call to the agent and print its answer.

A program of its own for every call, so it imports only what the interpreter is
built with, and leaves all reading of what it carries to the agent. Its text
alone, with a first line and a last, is what `cni install` writes.
"""

import posix
import sys
from _json import encode_basestring_ascii as quoted
from _json import scanstring
from _socket import AF_UNIX, SCM_RIGHTS, SO_RCVTIMEO, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET
from _socket import socket as Socket

#: What runtimes and operators know the plugins by.
CNI, NETMODULES = "marathon-calico-cni", "marathon-calico-netmodules"
#: Where the agent is unless it, and the plugins, are told otherwise.
SOCKET = "/run/marathon-calico/agent.sock"
#: What the agent's `--socket` may be set by too.
SOCKET_VARIABLE = b"MARATHON_CALICO_AGENT_SOCKET"
#: Versions of CNI that are spoken, the oldest first.
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
#: Seconds to wait for an agent that promises to answer in two.
WAIT = 3
#: Most bytes of a request, and of an answer.
LARGEST = 256 * 1024

#: CNI's numbers of errors, as far as they are met here.
BAD_ENVIRONMENT, IO_FAILURE, UNDECODABLE, BAD_CONFIG, TRY_LATER = 4, 5, 6, 7, 11


class Trouble(Exception):
    """The call cannot be handed on or was not answered."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def cni(path: str = "") -> int:
    """One call of a container runtime; the exit code."""
    variables = {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in posix.environ.items()
        if name.startswith(b"CNI_")
    }
    command = variables.get("CNI_COMMAND", "")
    text = ""
    try:
        text = _read()
        if command == "VERSION":
            return _print(0, _versions(text))
        pairs = ",".join(f"{quoted(name)}:{quoted(value)}" for name, value in variables.items())
        request = (
            f'{{"version":1,"command":"cni","environment":{{{pairs}}},"input":{quoted(text)}}}'
        )
        descriptor = -1 if command == "DEL" else _namespace(variables.get("CNI_NETNS", ""))
        code, answer = _ask(path, request, descriptor)
    except Trouble as trouble:
        _tell(CNI, str(trouble))
        # The agent takes away by itself what is gone, and a runtime that is told
        # of a failure keeps the container until DEL succeeds.
        if command == "DEL" and trouble.code == TRY_LATER:
            return 0
        version = _after(text, "cniVersion")
        return _print(
            1,
            f'{{"cniVersion": {quoted(version if version in VERSIONS else VERSIONS[0])}, '
            f'"code": {trouble.code}, "msg": {quoted(str(trouble))}, "details": ""}}\n',
        )
    if code:
        _tell(CNI, _after(answer, "msg"))
    return _print(code, answer)


def netmodules(path: str = "") -> int:
    """One call of net-modules; the exit code."""
    text = ""
    try:
        text = _read()
        request = f'{{"version":1,"command":"netmodules","input":{quoted(text)}}}'
        code, answer = _ask(path, request, -1)
    except Trouble as trouble:
        _tell(NETMODULES, str(trouble))
        if trouble.code == TRY_LATER and _after(text, "command") in ("cleanup", "release"):
            return _print(0, '{"error": null}\n')
        return _print(1, f'{{"error": {quoted(str(trouble))}}}\n')
    if code:
        _tell(NETMODULES, _after(answer, "error"))
    return _print(code, answer)


def _versions(text: str) -> str:
    asked = _after(text, "cniVersion")
    version = asked if asked in VERSIONS else VERSIONS[-1]
    supported = ", ".join(quoted(each) for each in VERSIONS)
    return f'{{"cniVersion": {quoted(version)}, "supportedVersions": [{supported}]}}\n'


def _read() -> str:
    content = b""
    try:
        while len(content) <= LARGEST and (part := posix.read(0, 65536)):
            content += part
    except OSError as error:
        raise Trouble(IO_FAILURE, f"standard input: {error.strerror}") from error
    if len(content) > LARGEST:
        raise Trouble(BAD_CONFIG, f"standard input is larger than {LARGEST // 1024} KiB")
    try:
        return content.decode()
    except ValueError as error:
        raise Trouble(UNDECODABLE, "standard input is not UTF-8") from error


def _namespace(path: str) -> int:
    """The network namespace, opened here: the agent may see other files under that path."""
    if not path:
        return -1
    try:
        return posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        raise Trouble(BAD_ENVIRONMENT, f"CNI_NETNS {path}: {why}") from error


def _ask(path: str, request: str, descriptor: int) -> tuple[int, str]:
    """The agent's exit code and text."""
    path = path or posix.environ.get(SOCKET_VARIABLE, b"").decode(errors="replace") or SOCKET
    sent = request.encode() + b"\n"
    if len(sent) > LARGEST:
        raise Trouble(BAD_CONFIG, f"standard input is larger than {LARGEST // 1024} KiB as text")
    try:
        answer = _exchange(path, sent, descriptor).decode(errors="replace")
    except BlockingIOError as error:
        raise Trouble(TRY_LATER, f"the agent at {path} did not answer in {WAIT} s") from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Trouble(TRY_LATER, f"no agent answers at {path}: {why}") from error
    first, _, rest = answer.partition("\n")
    if first.isdecimal():
        return int(first), rest
    # What concerns no plugin in particular, the agent tells in a form of its own.
    why = _after(first, "message") or "it ended before"
    raise Trouble(TRY_LATER, f"the agent at {path} gave no answer: {why}")


def _exchange(path: str, request: bytes, descriptor: int) -> bytes:
    # A socket that Python itself makes wait would refuse to connect to a busy agent.
    size = 8 if sys.maxsize > 2**32 else 4
    wait = WAIT.to_bytes(size, sys.byteorder) + bytes(size)
    connection = Socket(AF_UNIX, SOCK_STREAM)
    connection.setsockopt(SOL_SOCKET, SO_SNDTIMEO, wait)
    connection.setsockopt(SOL_SOCKET, SO_RCVTIMEO, wait)
    connection.connect(path)
    rights = descriptor.to_bytes(4, sys.byteorder, signed=True)
    extra = [] if descriptor < 0 else [(SOL_SOCKET, SCM_RIGHTS, rights)]
    try:
        first = connection.sendmsg([request], extra)
        connection.sendall(request[first:])
    except BrokenPipeError:
        # An agent that will not read it to the end may have said why.
        pass
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


def _after(text: str, name: str) -> str:
    """The string that a key of JSON text has, empty if it has none.

    Quotes inside a string are escaped, so what is found is no part of one.
    """
    _, found, rest = text.partition(f'"{name}"')
    rest = rest.lstrip()
    if not found or not rest.startswith(":"):
        return ""
    rest = rest[1:].lstrip()
    if not rest.startswith('"'):
        return ""
    try:
        return scanstring(rest, 1, True)[0]
    except ValueError:
        return ""


def _tell(program: str, message: str) -> None:
    shown = "".join(each if each.isprintable() else " " for each in message)
    _write(2, f"{program}: {shown}\n")


def _print(code: int, text: str) -> int:
    return code if _write(1, text) else 1


def _write(descriptor: int, text: str) -> bool:
    content = text.encode(errors="replace")
    try:
        while content:
            content = content[posix.write(descriptor, content) :]
    except OSError:
        # Nobody is left to read it.
        return False
    return True
