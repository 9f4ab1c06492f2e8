"""What operators see of a new leader before it gives addresses: real controllers, real etcd."""

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

from calico.codec import decode_chain, decode_leader
from calico.datastore.etcd import EtcdDatastore
from calico.keys import CHAIN, LEADER
from tests.contract.test_held import run
from tests.contract.two_controllers import HOST, Pair, two_controllers

#: Seconds in which an operator is told of what stops progress.
TOLD_WITHIN = 10.0


def readiness(pair: Pair) -> tuple[int, str]:
    """The code of the new leader's page, and the reason on it."""
    try:
        with urllib.request.urlopen(f"http://{pair.other.address}/readyz", timeout=5) as answer:
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
        pair.until("the page tells", lambda: expected in readiness(pair)[1], TOLD_WITHIN)

        # then its page, its log and `status` tell so
        assert readiness(pair)[0] == 503
        assert expected in pair.other.log
        pair.until("status tells", lambda: expected in run(pair, "status").stdout, TOLD_WITHIN)

        # and that it is over, with the takeover that counts for agents
        pair.until("the page is in order", lambda: readiness(pair) == (200, ""))
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
