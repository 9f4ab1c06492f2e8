"""Bugs of controllers, and of the client by which they know Marathon."""

from tests.mutants.mutant import Mutant

CONTROLLERS = (
    Mutant(
        "P4",
        "an empty list of apps is the truth",
        "reconciler/core/removal/withdrawal.py",
        "if listed.is_empty or len(unproven) > limit:",
        "if len(unproven) > limit:",
        ("tests/unit/reconciler/test_withdrawal.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P4",
        "any number of tasks may vanish without evidence",
        "reconciler/core/removal/withdrawal.py",
        "if listed.is_empty or len(unproven) > limit:",
        "if listed.is_empty:",
        ("tests/unit/reconciler/test_withdrawal.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P4",
        "one list without a task ends it",
        "reconciler/core/removal/withdrawal.py",
        "now - absent_since.get(task, now) >= CONFIRM_AFTER",
        "now - absent_since.get(task, now) >= 0",
        ("tests/unit/reconciler/test_withdrawal.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P4",
        "absence counts as evidence",
        "reconciler/core/removal/withdrawal.py",
        "proven = absent & frozenset(evidence)",
        "proven = absent",
        ("tests/unit/reconciler/test_withdrawal.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P4",
        "an approval of another plan counts",
        "reconciler/core/removal/withdrawal.py",
        "if approved_plan == held.plan:",
        "if approved_plan is not None:",
        ("tests/unit/reconciler/test_withdrawal.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P4",
        "a list that no leader signed counts",
        "reconciler/controller/removal/absences.py",
        "if listed.leader is None:",
        "if False:",
        ("tests/unit/controller/test_loop.py",),
    ),
    Mutant(
        "P4",
        "what one leader lacked counts under the next",
        "reconciler/controller/removal/absences.py",
        "            self._absent_since.clear()\n",
        "            pass\n",
        ("tests/unit/controller/test_evidence.py",),
    ),
    Mutant(
        "P4",
        "a held list is the first of two",
        "reconciler/controller/removal/absences.py",
        "first = found.waiting - reread.alive if found.is_credible else frozenset()",
        "first = found.waiting | found.held",
        ("tests/unit/controller/test_framework.py",),
    ),
    Mutant(
        "P4",
        "an app that cannot be read has no tasks",
        "reconciler/controller/removal/absences.py",
        "        present |= self._unclear(listed, known)\n",
        "        pass\n",
        ("tests/unit/controller/test_loop.py",),
    ),
    Mutant(
        "P4",
        "one read of an app ends tasks without evidence",
        "reconciler/controller/reconcile.py",
        "ended = absent & self._absences.proof(() if app is None else (app,))",
        "ended = absent",
        ("tests/unit/controller/test_evidence.py",),
    ),
    Mutant(
        "P5",
        "an agent's word outlives a reboot",
        "reconciler/controller/stored.py",
        (
            "if host in self.hosts and self.hosts[host].boot_id == applied.boot_id\n"
            "            for task in applied.gone"
        ),
        ("if host in self.hosts\n            for task in applied.gone"),
        (
            "tests/unit/controller/test_hostile.py",
            "tests/unit/controller/test_loop.py",
        ),
    ),
    Mutant(
        "P5",
        "any host may call a task gone",
        "reconciler/controller/stored.py",
        "if task in self.records and self.records[task].value.host == host",
        "if task in self.records",
        (
            "tests/unit/controller/test_hostile.py",
            "tests/unit/controller/test_loop.py",
        ),
    ),
    Mutant(
        "P4",
        "LOST is an end",
        "marathon_client/models.py",
        ("        TaskState.ERROR,\n        TaskState.DROPPED,"),
        ("        TaskState.ERROR,\n        TaskState.LOST,\n        TaskState.DROPPED,"),
        ("tests/unit/marathon_client/test_decode.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P3",
        "writes go on after the lease's deadline",
        "reconciler/runtime/lease.py",
        "return self._clock.monotonic() < self._deadline",
        "return self.token is not None",
        ("tests/unit/runtime/test_lease.py", "tests/unit/controller/test_hostile.py"),
    ),
    Mutant(
        "P3",
        "the deadline counts from the answer",
        "reconciler/runtime/lease.py",
        "self._deadline = sent + WRITE_WINDOW",
        "self._deadline = self._clock.monotonic() + WRITE_WINDOW",
        ("tests/unit/runtime/test_lease.py", "tests/unit/controller/test_hostile.py"),
    ),
    Mutant(
        "P3",
        "the lease is renewed without prevIndex",
        "reconciler/runtime/lease.py",
        "expect = ABSENT if self._revision is None else self._revision",
        "expect = ABSENT if self._revision is None else None",
        ("tests/unit/runtime/test_lease.py", "tests/unit/controller/test_hostile.py"),
    ),
    Mutant(
        "P3",
        "deletes are not fenced",
        "reconciler/runtime/lease.py",
        (
            '"""See Datastore; raises LeaseLost."""\n'
            "        self._check(key)\n"
            "        self._datastore.delete"
        ),
        ('"""See Datastore; raises LeaseLost."""\n        self._datastore.delete'),
        ("tests/unit/runtime/test_lease.py", "tests/unit/controller/test_hostile.py"),
    ),
    Mutant(
        "P5",
        "an address is free after one host's word",
        "reconciler/core/removal/quarantine.py",
        "oldest = min(",
        "oldest = max(",
        ("tests/unit/reconciler/test_quarantine.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P5",
        "an address does not rest",
        "reconciler/core/removal/quarantine.py",
        "            now - rest.since >= REST\n",
        "            now - rest.since >= 0\n",
        ("tests/unit/reconciler/test_quarantine.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P10",
        "a new version changes tasks of the old one",
        "reconciler/core/desired.py",
        ("if record is not None and _accepted(record):\n        return _as_accepted"),
        ("if False:\n        return _as_accepted"),
        (
            "tests/unit/controller/test_hostile.py",
            "tests/unit/controller/test_loop.py",
        ),
    ),
    Mutant(
        "P11",
        "one app's failure stops the others",
        "reconciler/controller/reconcile.py",
        (
            "                self._writer.bring(desired, reading.blocks)\n"
            "            except CalicoError as error:\n"
            "                failure = error"
        ),
        (
            "                self._writer.bring(desired, reading.blocks)\n"
            "            except CalicoError as error:\n"
            "                raise"
        ),
        ("tests/unit/controller/test_evidence.py",),
    ),
    Mutant(
        "P12",
        "no list is asked for at a reconnect",
        "reconciler/controller/loop.py",
        (
            "                self._reconciler.note_connected()\n"
            "                self._ask_for_list(now)\n"
        ),
        "                self._reconciler.note_connected()\n",
        (
            "tests/unit/controller/test_adoption.py",
            "tests/contract/failure_modes/test_stream.py",
        ),
    ),
    Mutant(
        "P12",
        "no list is asked for by the clock",
        "reconciler/controller/loop.py",
        "        self._queue.add(Chore.RESYNC, now + spread)\n",
        "",
        ("tests/unit/controller/test_loop.py", "tests/unit/controller/test_hostile.py"),
    ),
    Mutant(
        "P18",
        "credentials follow a redirect",
        "marathon_client/endpoints.py",
        "return Endpoint(url, origin, known.get(origin))",
        "return Endpoint(url, origin, base.credentials)",
        (
            "tests/unit/marathon_client/test_endpoints.py",
            "tests/contract/test_marathon_client_stream.py",
        ),
    ),
    Mutant(
        "P4",
        "any 404 is an absent app",
        "marathon_client/client.py",
        'if f"/{app_id.strip(\'/\')}" in (parse_message(reply.body) or ""):',
        "if True:",
        ("tests/contract/test_marathon_client_rest.py",),
    ),
    Mutant(
        "P4",
        "two halves of two leaders make a list",
        "marathon_client/client.py",
        ("            leader = None\n        return AppList((*apps"),
        ("            pass\n        return AppList((*apps"),
        ("tests/contract/test_marathon_client_rest.py",),
    ),
    Mutant(
        "P4",
        "an app listed without tasks has none",
        "marathon_client/decode.py",
        "if with_tasks and found.tasks is None:",
        "if False:",
        ("tests/unit/marathon_client/test_decode.py",),
    ),
    Mutant(
        "P11",
        "a dripping answer has no deadline",
        "marathon_client/transport.py",
        "        timer.start()\n",
        "        pass\n",
        ("tests/contract/test_marathon_client_rest.py",),
    ),
    Mutant(
        "P18",
        "without an authority of one's own Marathon's certificate is not checked",
        "marathon_client/transport.py",
        "session.verify = tls.ca or True",
        "session.verify = tls.ca or False",
        ("tests/contract/test_marathon_tls.py",),
    ),
    Mutant(
        "P4",
        "a second look at an app ends tasks that it shows",
        "reconciler/controller/removal/absences.py",
        "            waiting=found.waiting | (found.confirmed - reread.ended),\n",
        "",
        ("tests/unit/controller/test_second_looks.py",),
    ),
    Mutant(
        "P12",
        "the stream of a leader that was deposed is listened to",
        "reconciler/controller/loop.py",
        "                self._outlook.reconnect()\n",
        "                pass\n",
        ("tests/unit/controller/test_evidence.py",),
    ),
    Mutant(
        "P11",
        "one app that fails asks for the list of all, again and again",
        "reconciler/controller/loop.py",
        "            self._refused(app_id, failure)\n\n    def _allow",
        "            self._ask_for_list(now)\n\n    def _allow",
        ("tests/unit/controller/test_hostile.py", "tests/unit/controller/test_loop.py"),
    ),
    Mutant(
        "P4",
        "a list counts from when it came, not from when it was asked for",
        "reconciler/controller/removal/absences.py",
        "            asked,\n            self._holds",
        "            self._clock.monotonic(),\n            self._holds",
        ("tests/unit/controller/test_second_looks.py",),
    ),
    Mutant(
        "P13",
        "a record is written again though nothing changed",
        "reconciler/controller/writer.py",
        "if known is not None and _alike(known.value, record):",
        "if False:",
        ("tests/unit/controller/test_loop.py",),
    ),
)
