"""What is held, as operators and their probes meet it: real controllers, real commands."""

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

from calico.cluster import ObjectionRecord
from calico.codec import encode_applied, encode_objection
from calico.datastore.etcd import EtcdDatastore
from calico.keys import FORGOTTEN, applied_key, objection_key
from calico.model import AppliedRecord, HostName
from tests.contract.controllers.two_controllers import BOOT, COMMAND, HOST, Pair, two_controllers

TASKS = {f"a.{number}" for number in range(5)}


def page(pair: Pair, path: str) -> str:
    """A page of the leader, which must be in order."""
    with urllib.request.urlopen(f"http://{pair.one.address}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def run(pair: Pair, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the operator's."""
    command = [COMMAND, *arguments, "--etcd", pair.etcd]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_held_is_told_everywhere_and_let_go_by_an_operator(tmp_path: Path) -> None:
    with two_controllers(tmp_path) as pair:
        pair.marathon.put("/a", [(task, HOST) for task in sorted(TASKS)], ["g"])
        pair.until("the tasks have networks", lambda: pair.tasks() == TASKS)

        # when the list is empty, though nobody says that anything ended
        pair.marathon.remove("/a")
        pair.until("that is held", lambda: json.loads(page(pair, "/readyz"))["holds"] != [])

        # then it is told with its remedy, and the controller is in order
        (told,) = json.loads(page(pair, "/readyz"))["holds"]
        assert (told["kind"], told["count"]) == ("tasks", len(TASKS))
        assert 'marathon_calico_controller_held{kind="tasks"} 5.0' in page(pair, "/metrics")
        assert f'remedy="{told["remedy"]}"' in pair.one.log
        status = run(pair, "status")
        assert status.returncode == 1
        assert f"`{told['remedy']}` lets it go" in status.stdout
        assert pair.tasks() == TASKS

        # and goes when an operator says so, and only then
        program, *arguments = told["remedy"].split()
        assert COMMAND.endswith(program)
        assert run(pair, *arguments).returncode == 0
        pair.until("they are let go", lambda: pair.tasks() == set(), 60.0)
        pair.until("nothing is held", lambda: json.loads(page(pair, "/readyz"))["holds"] == [])
        assert run(pair, "holds").stdout == ""


def test_a_host_that_etcd_lost_is_forgotten_by_the_command(tmp_path: Path) -> None:
    with two_controllers(tmp_path) as pair:
        # given a new leader, and a host that knew another one in an earlier etcd
        pair.one.send(signal.SIGTERM)
        store = EtcdDatastore([pair.etcd])
        word = AppliedRecord(HOST, BOOT, 0, guid="earlier", takeover=3, doubt="wiped")
        held = ObjectionRecord(HOST, BOOT, "earlier", 3, hosts=(HOST, HostName("gone")))
        store.put(objection_key(HOST), encode_objection(held))
        store.put(applied_key(HOST), encode_applied(word))
        told = "not heard of yet: gone"
        pair.until("that is waited for", lambda: told in run(pair, "holds").stdout, 40.0)

        # when it is declared gone
        assert run(pair, "hosts", "forget", "gone").returncode == 2
        assert "there is no host 'other'" in run(pair, "hosts", "forget", "other").stderr
        assert run(pair, "hosts", "forget", "gone", "--yes").returncode == 0

        # then the new leader goes on
        pair.until("nothing is held", lambda: run(pair, "holds").stdout == "", 40.0)
        assert store.list(FORGOTTEN).entries == ()
