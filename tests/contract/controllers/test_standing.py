"""What operators see of a new leader before it gives addresses: real controllers, real etcd."""

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

from calico.codec import decode_chain, decode_leader
from calico.datastore.etcd import EtcdDatastore
from calico.keys import CHAIN, CLUSTER, LEADER
from tests.contract.controllers.test_held import run
from tests.contract.controllers.two_controllers import HOST, Controller, two_controllers

#: Seconds in which an operator is told of what stops progress.
TOLD_WITHIN = 10.0


def readiness(of: Controller) -> tuple[int, str]:
    """The code of a leader's page, and the reason on it."""
    try:
        with urllib.request.urlopen(f"http://{of.address}/readyz", timeout=5) as answer:
            return answer.status, str(json.load(answer)["reason"])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(json.load(error)["reason"])


def test_a_new_leader_says_for_whom_it_waits_and_then_that_it_gives_addresses(
    tmp_path: Path,
) -> None:
    with two_controllers(tmp_path) as pair:
        store = EtcdDatastore([pair.etcd])
        pair.marathon.put("/a", [("a.1", HOST)], ["g"])
        pair.until("the task has a network", lambda: pair.tasks() == {"a.1"})

        # when another takes over, and the host's agent does not say that it follows
        pair.one.send(signal.SIGTERM)
        pair.until("the other leads", lambda: pair.other.token is not None)
        expected = f"no address is given yet: {HOST} may hold what this datastore lacks"
        pair.until("the page tells", lambda: expected in readiness(pair.other)[1], TOLD_WITHIN)

        # then its page, its log and `status` tell so
        assert readiness(pair.other)[0] == 503
        assert expected in pair.other.log
        pair.until("status tells", lambda: expected in run(pair, "status").stdout, TOLD_WITHIN)

        # and that it is over once it does, with the takeover that counts for agents
        pair.follow()
        pair.until("the page is in order", lambda: readiness(pair.other) == (200, ""))
        assert "addresses are given" in pair.other.log
        pair.until(
            "status is quiet", lambda: "PROBLEM controller" not in run(pair, "status").stdout
        )
        chain, leader = store.get(CHAIN), store.get(LEADER)
        assert chain is not None
        assert leader is not None
        standing = decode_leader(leader.value).standing
        assert standing is not None
        assert standing.opened == decode_chain(chain.value)[-1].nonce


def test_what_is_pinned_and_cannot_be_read_is_told_and_mended_by_an_adoption(
    tmp_path: Path,
) -> None:
    with two_controllers(tmp_path) as pair:
        store = EtcdDatastore([pair.etcd])
        pair.marathon.put("/a", [("a.1", HOST)], ["g"])
        pair.until("the task has a network", lambda: pair.tasks() == {"a.1"})

        store.put(CLUSTER, "garbage")

        # then page, log and commands name the key and the remedy
        remedy = "`marathon-calico cluster adopt --yes`"
        pair.until("the page tells", lambda: readiness(pair.one)[0] == 503, TOLD_WITHIN)
        told = readiness(pair.one)[1]
        assert told.startswith(f"{CLUSTER} cannot be read")
        assert remedy in told
        assert told in pair.one.log
        for command in (("status",), ("cluster", "show")):
            answer = run(pair, *command)
            assert (answer.returncode, f"PROBLEM {CLUSTER}: " in answer.stdout) == (1, True)
            assert remedy in answer.stdout

        # and by that remedy all goes on, what ran as if nothing had been
        pair.marathon.put("/b", [("b.1", HOST)], ["g"])
        assert run(pair, "cluster", "adopt").returncode == 2
        assert pair.tasks() == {"a.1"}
        assert run(pair, "cluster", "adopt", "--yes").returncode == 0
        pair.until("the new task has a network", lambda: pair.tasks() == {"a.1", "b.1"})
        pair.until("the page is in order", lambda: readiness(pair.one) == (200, ""))
        shown = run(pair, "cluster", "show")
        assert (shown.returncode, shown.stdout.split("takeovers")[1].split()[0]) == (0, "1")
        assert "nothing to adopt" in run(pair, "cluster", "adopt", "--yes").stdout
