"""Bugs of who leads, and of what a quiet or foreign etcd is believed."""

from tests.mutants.mutant import Mutant

LEADERSHIP = (
    Mutant(
        "P3",
        "a block's hint is written whatever is there",
        "calico/addressing/ledger.py",
        'return self._datastore.put(key, "", expect=expect)',
        'return self._datastore.put(key, "")',
        ("tests/unit/calico/test_conditional_writes.py",),
    ),
    Mutant(
        "P3",
        "an endpoint that came too late stays",
        "reconciler/runtime/lease.py",
        "if expect == ABSENT and not self._lease.held:",
        "if False:",
        ("tests/unit/runtime/test_lease.py",),
    ),
    Mutant(
        "P1",
        "an endpoint that came too late keeps an address that is another's",
        "reconciler/controller/late_endpoint.py",
        "addresses.holder(each) == HandleId(workload)",
        "True",
        ("tests/unit/controller/test_late_endpoint.py",),
    ),
    Mutant(
        "P4",
        "an endpoint of a live task is taken back",
        "reconciler/controller/late_endpoint.py",
        "if _is_relied_on(datastore, decode_endpoint(endpoint, text)):",
        "if False:",
        ("tests/unit/controller/test_late_endpoint.py",),
    ),
    Mutant(
        "P3",
        "a lease is given back as its last answer was, not as it is",
        "reconciler/runtime/lease.py",
        "        if self._unanswered:\n            # What",
        "        if False:\n            # What",
        ("tests/unit/runtime/test_lease.py",),
    ),
    Mutant(
        "P3",
        "a leader that is told to stop keeps its lease",
        "reconciler/controller/leading.py",
        "        if self._is_over(0.0):\n            self._give_back()",
        "        if self._is_over(0.0):\n            pass",
        ("tests/unit/controller/test_leading.py",),
    ),
    Mutant(
        "P21",
        "a quiet member is believed",
        "reconciler/runtime/watchfeed.py",
        "if self._has_missed(datastore, after):",
        "if False:",
        ("tests/unit/runtime/test_watchfeed.py",),
    ),
    Mutant(
        "P18",
        "etcd's certificate is not checked",
        "calico/datastore/etcd.py",
        "ssl.CERT_REQUIRED",
        "ssl.CERT_NONE",
        ("tests/contract/test_etcd_tls.py",),
    ),
    Mutant(
        "P18",
        "the name in etcd's certificate is not checked",
        "calico/datastore/etcd.py",
        'client.http.connection_pool_kw["cert_reqs"] = ssl.CERT_REQUIRED',
        'client.http.connection_pool_kw["assert_hostname"] = False',
        ("tests/contract/test_etcd_tls.py",),
    ),
)
