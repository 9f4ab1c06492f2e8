"""Bugs of what an agent believes, tells and enforces."""

from tests.mutants.mutant import Mutant

HOSTS = (
    Mutant(
        "P7",
        "an agent believes a store that was restored before its latest takeover",
        "reconciler/core/lineage.py",
        "    if any(0 < each <= reached for each in told):\n",
        "    if False:\n",
        ("tests/unit/reconciler/test_lineage.py",),
    ),
    Mutant(
        "P7",
        "an agent takes another host's adoption for its own",
        "reconciler/core/lineage.py",
        "guid in each.adopts and host in each.hosts and",
        "guid in each.adopts and",
        ("tests/unit/reconciler/test_lineage.py",),
    ),
    Mutant(
        "P7",
        "an agent claims what other hosts hold",
        "reconciler/agent/telling/holdings.py",
        "if endpoint is None or endpoint.host != host:",
        "if endpoint is None:",
        ("tests/unit/agent/test_holdings.py",),
    ),
    Mutant(
        "P7",
        "an agent takes for told what it wrote to another store",
        "reconciler/agent/telling/reporter.py",
        "                # Of what was written to another store nothing may be left.\n"
        "                self._held = self._delivered = None\n",
        "                pass\n",
        ("tests/unit/agent/test_reporter.py",),
    ),
    Mutant(
        "P2",
        "a task is wired before its policy is in force",
        "reconciler/core/plan.py",
        "            return Stage.TABLE\n",
        "            return Stage.ADD_ROUTES\n",
        ("tests/unit/reconciler/test_plan.py", "tests/convergence/test_plan_laws.py"),
    ),
    Mutant(
        "P2",
        "a packet in the middle of a flow opens one",
        "calico/dataplane/render/chains.py",
        "    yield dropping(opening(negated=True))\n    version = config",
        "    version = config",
        ("tests/unit/dataplane/test_render.py", "tests/kernel/test_closed_table.py"),
    ),
    Mutant(
        "P16",
        "a task may send from any address",
        "calico/dataplane/render/chains.py",
        'f"@source{version}"), set_mark(config.mark), ACCEPT)\n    yield dropping()\n',
        'f"@source{version}"), set_mark(config.mark), ACCEPT)\n',
        ("tests/unit/dataplane/test_render.py", "tests/kernel/test_closed_tasks.py"),
    ),
    Mutant(
        "P23",
        "a lease outlives the suspension of its machine",
        "reconciler/runtime/clock.py",
        "time.clock_gettime(time.CLOCK_BOOTTIME)",
        "time.monotonic()",
        ("tests/unit/runtime/test_clock.py",),
    ),
)
