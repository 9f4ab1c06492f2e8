"""Bugs of what speaks with etcd and keeps its books."""

from tests.mutants.mutant import Mutant

STORES = (
    Mutant(
        "P21",
        "a key is read without quorum",
        "calico/datastore/etcd.py",
        "client.read(key, quorum=True)",
        "client.read(key)",
        ("tests/contract/test_three_members.py",),
    ),
    Mutant(
        "P21",
        "a prefix is listed without quorum",
        "calico/datastore/etcd.py",
        "client.read(prefix, quorum=True, recursive=True)",
        "client.read(prefix, recursive=True)",
        ("tests/contract/test_three_members.py",),
    ),
    Mutant(
        "P1",
        "a swap forgets prevIndex",
        "calico/datastore/etcd.py",
        'condition["prevIndex"] = expect',
        'condition["prevExist"] = True',
        ("tests/contract/test_datastore.py",),
    ),
    Mutant(
        "P1",
        "a first write forgets prevExist",
        "calico/datastore/etcd.py",
        'condition["prevExist"] = False',
        "pass",
        ("tests/contract/test_datastore.py",),
    ),
    Mutant(
        "P3",
        "a delete forgets prevIndex",
        "calico/datastore/etcd.py",
        'condition = {} if expect is None else {"prevIndex": expect}',
        "condition: dict[str, object] = {}",
        ("tests/contract/test_datastore.py",),
    ),
    Mutant(
        "P1",
        "urllib3 repeats a write",
        "calico/datastore/etcd.py",
        "urllib3.Retry(total=0, redirect=0)",
        "urllib3.Retry(total=3, redirect=0)",
        ("tests/contract/test_datastore_etcd.py", "tests/contract/test_lost_replies.py"),
    ),
    Mutant(
        "P1",
        "a write without an answer is sent again",
        "calico/datastore/etcd.py",
        "if not repeatable and not never_sent(error.cause):",
        "if False:",
        ("tests/contract/test_datastore_etcd.py", "tests/contract/test_lost_replies.py"),
    ),
    Mutant(
        "P21",
        "the loss of etcd's event window is taken for a quiet minute",
        "calico/datastore/etcd.py",
        ("        case etcd.EtcdEventIndexCleared():\n            raise HistoryLost"),
        ("        case etcd.EtcdEventIndexCleared():\n            raise etcd.EtcdWatchTimedOut"),
        ("tests/contract/test_datastore.py", "tests/contract/test_datastore_etcd.py"),
    ),
    Mutant(
        "P21",
        "a watch begins one event too late",
        "calico/datastore/etcd.py",
        "        index = after + 1\n",
        "        index = after + 2\n",
        ("tests/contract/test_datastore.py",),
    ),
    Mutant(
        "P21",
        "a feed waits on after its history was lost",
        "reconciler/runtime/watchfeed.py",
        ("        except HistoryLost:\n            return\n"),
        ("        except HistoryLost:\n            self._stop.wait(1e9)\n"),
        ("tests/unit/runtime/test_watchfeed.py",),
    ),
    Mutant(
        "P21",
        "a feed skips the event after each one",
        "reconciler/runtime/watchfeed.py",
        "                            after = stored.revision\n",
        "                            after = stored.revision + 1  # type: ignore\n",
        ("tests/unit/runtime/test_watchfeed.py",),
    ),
    Mutant(
        "P17",
        "a key may climb by ..",
        "calico/keys.py",
        'if text in (".", ".."):',
        'if text == ".":',
        ("tests/unit/calico/test_keys.py", "tests/contract/test_datastore.py"),
    ),
    Mutant(
        "P1",
        "an address is given back whoever holds it now",
        "calico/addressing/ledger.py",
        "if found is None or held is None or not held.is_of(handle, given_on):",
        (
            "if found is None or held is None:\n"
            "                return unanswered > 0\n"
            "            handle = held.handle\n"
            "            if False:"
        ),
        (
            "tests/contract/test_claims.py",
            "tests/unit/controller/test_loop.py",
            "tests/unit/controller/test_leftovers.py",
            "tests/convergence/test_ipam_laws.py",
            "tests/convergence/test_ipam_addresses.py",
            "tests/convergence/test_ipam_kills.py",
        ),
    ),
    Mutant(
        "P1",
        "an unanswered write of a block is taken for done",
        "calico/addressing/ledger.py",
        "if held is None or held != ipam.allocation_of(changed, address):",
        "if False:",
        ("tests/unit/calico/test_unanswered.py",),
    ),
    Mutant(
        "P1",
        "a block is written without comparing",
        "calico/addressing/ledger.py",
        "codec.encode_block(changed), expect=revision)",
        "codec.encode_block(changed))",
        (
            "tests/convergence/test_ipam_addresses.py",
            "tests/convergence/test_ipam_laws.py",
            "tests/convergence/test_ipam_kills.py",
            "tests/contract/test_datastore_addresses.py",
            "tests/contract/test_lost_replies.py",
        ),
    ),
    Mutant(
        "P1",
        "a claim is written without comparing",
        "calico/addressing/claims.py",
        "self._datastore.put(block_key(cidr), text, expect=revision)",
        "self._datastore.put(block_key(cidr), text)",
        ("tests/contract/test_claims.py", "tests/convergence/test_claim_kills.py"),
    ),
    Mutant(
        "P1",
        "a write follows a redirect",
        "calico/datastore/etcd.py",
        "urllib3.Retry(total=0, redirect=0)\n",
        (
            "urllib3.Retry(total=1, connect=0, read=0, other=0)\n"
            "        client._allow_redirect = True\n"
        ),
        ("tests/contract/test_datastore_etcd.py",),
    ),
    Mutant(
        "P3",
        "a connection that was made late sends without asking once more",
        "calico/datastore/etcd.py",
        "        client.http.pool_classes_by_scheme = asking_pools(self._weak_fence())\n",
        "",
        ("tests/contract/test_fence.py",),
    ),
    Mutant(
        "P3",
        "a connection that stands is written on without asking",
        "calico/datastore/etcd.py",
        "            self._ask_fence()\n            member",
        "            member",
        ("tests/contract/test_fence.py",),
    ),
)
