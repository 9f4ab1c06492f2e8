"""The socket's own commands: JSON to a call of the Attacher, and what came of it to JSON."""

from collections.abc import Mapping

from netaddr import IPAddress

from calico.codec.fields import as_int, as_text, as_tuple, render_json
from calico.dataplane.state import TASK_INTERFACE
from calico.errors import InvalidName, InvalidValue
from calico.identifiers import check_container
from calico.iptext import parse_address
from reconciler.attach.api import (
    Attached,
    Attacher,
    AttachError,
    AttachRefused,
    Place,
    Wish,
)
from reconciler.attach.refusals import Answered, kind_of
from reconciler.attach.wire import NO_DESCRIPTOR

#: The only version of the requests so far.
VERSION = 1
COMMANDS = ("allocate", "attach", "detach", "check")


def answer_native(request: Mapping[str, object], attacher: Attacher, descriptor: int) -> Answered:
    """Carry one command out; every AttachError is told in the answer."""
    try:
        text = render_json({"error": None, **_carry_out(request, attacher, descriptor)})
    except (InvalidName, InvalidValue) as error:
        return Answered(1, render_error(AttachRefused(str(error))), "refused", str(error))
    except AttachError as error:
        return Answered(1, render_error(error), kind_of(error), str(error))
    return Answered(0, text)


def render_error(error: AttachError) -> str:
    """The answer that tells an error; a message is one line."""
    message = " ".join(str(error).split())
    return render_json({"error": {"kind": kind_of(error), "message": message}})


def _carry_out(
    request: Mapping[str, object], attacher: Attacher, descriptor: int
) -> dict[str, object]:
    command = request.get("command")
    container = check_container(as_text(request.get("container"), "container"))
    match command:
        case "allocate":
            return _fields(attacher.allocate(container, _wish(request)))
        case "attach":
            return _fields(attacher.attach(container, _place(request, descriptor)))
        case "detach":
            return {"found": attacher.detach(container)}
        case "check":
            return _fields(attacher.check(container))
        case _:
            raise AttachRefused(f"command {command!r} is none of {', '.join(COMMANDS)}")


def _wish(request: Mapping[str, object]) -> Wish:
    return Wish(
        as_tuple(request.get("fixed", []), "fixed", _address),
        _count(request, "count4"),
        _count(request, "count6"),
    )


def _address(value: object, name: str) -> IPAddress:
    return parse_address(as_text(value, name))


def _count(request: Mapping[str, object], name: str) -> int | None:
    value = request.get(name)
    return None if value is None else as_int(value, name)


def _place(request: Mapping[str, object], descriptor: int) -> Place:
    pid = as_int(request.get("pid", 0), "pid")
    if descriptor == NO_DESCRIPTOR and pid <= 0:
        raise AttachRefused("attach needs a network namespace: its descriptor, or a pid")
    return Place(
        descriptor=descriptor,
        pid=pid,
        path=as_text(request.get("path", ""), "path"),
        device=as_text(request.get("device", TASK_INTERFACE), "device"),
    )


def _fields(attached: Attached) -> dict[str, object]:
    return {
        "container": attached.container,
        "addresses": [str(each) for each in attached.addresses],
        "interface": attached.interface,
        "mac": str(attached.mac),
        "mtu": attached.mtu,
        "device": attached.device,
    }
