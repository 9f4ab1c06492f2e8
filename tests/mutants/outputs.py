"""Bugs of what is printed, logged and handed on."""

from tests.mutants.mutant import Mutant

OUTPUTS = (
    Mutant(
        "P17",
        "control characters reach a terminal",
        "reconciler/cli/printing/render.py",
        "char if char.isprintable() else",
        "char if True else",
        ("tests/unit/cli/test_render.py",),
    ),
    Mutant(
        "P17",
        "a text of Marathon's begins a log line of its own",
        "reconciler/logs.py",
        "message = _escaped(without_user(record.getMessage()))",
        "message = without_user(record.getMessage())",
        ("tests/unit/cli/test_logs.py", "tests/unit/hostile/test_sinks.py"),
    ),
    Mutant(
        "P18",
        "a password in a URL is logged",
        "reconciler/logs.py",
        'return _USER_IN_URL.sub("://***@", text)',
        "return text",
        ("tests/unit/cli/test_logs.py",),
    ),
    Mutant(
        "P18",
        "a known secret is in the bundle for whom one asks",
        "reconciler/cli/diags/redaction.py",
        "            text = text.replace(each, MASK)\n",
        "            pass\n",
        ("tests/unit/cli/test_diags.py",),
    ),
    Mutant(
        "P18",
        "a secret named beside its value is in the bundle",
        "reconciler/cli/diags/redaction.py",
        '                        or (named and key == "value")\n',
        "",
        ("tests/unit/cli/test_diags.py",),
    ),
    Mutant(
        "P25",
        "`status` is content while something is held",
        "reconciler/cli/commands/status.py",
        "waits = not all(is_approved(hold) for hold in cluster.holds)",
        "waits = False",
        (
            "tests/unit/cli/test_commands.py",
            "tests/unit/cli/test_holds.py",
        ),
    ),
    Mutant(
        "P8",
        "`ipam check` takes a count that is too low for harmless",
        "reconciler/core/removal/address_findings.py",
        "ours and not (isinstance(drift, Miscounted) and drift.counted < drift.held)",
        "ours",
        ("tests/unit/cli/test_ipam.py",),
    ),
    Mutant(
        "P8",
        "`ipam check` counts on a leader where nobody leads",
        "reconciler/cli/judging/addresses.py",
        "each.transient and cluster.leader is not None",
        "each.transient",
        ("tests/unit/cli/test_ipam.py",),
    ),
    Mutant(
        "P25",
        "`status` takes what a host told for dealt with because others' was",
        "reconciler/cli/reading/objections.py",
        "and not (record is not None and is_taken_over(record, self._chain, self._guid))",
        "and not self._chain",
        ("tests/unit/cli/test_lost.py",),
    ),
)
