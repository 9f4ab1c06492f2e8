"""Whether the kernels of the hosts on the way do what `why` answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from calico.model import HostName
from reconciler.cli.judging.explain import Finding
from reconciler.cli.judging.parties import Side
from reconciler.cli.reading.cluster import Cluster, TaskView
from reconciler.cli.reading.kernels import NotTold
from reconciler.core.kernels.verdict import KernelVerdict
from reconciler.core.reaching.reach import HostParty, Shortcut
from reconciler.core.verdict import AgentState, Verdict

Verdicts = Mapping[HostName, KernelVerdict | NotTold]

_WORDS = {"accept": "lets it pass", "drop": "drops it", "unknown": "cannot be followed"}


@dataclass(frozen=True, slots=True)
class Kernel:
    """Whether a host does what etcd asks: yes, no or unknown."""

    host: str
    agrees: str
    detail: str


def hosts_on_the_way(
    sender: Side, receiver: Side, shortcut: Shortcut | None
) -> tuple[HostName, ...]:
    """The hosts that judge a packet, in its order."""
    if shortcut is Shortcut.SAME_TASK:
        return ()
    ends = [side.task.host for side in (sender, receiver) if side.task is not None]
    if sender.task is not None and isinstance(receiver.party, HostParty):
        ends.append(receiver.party.host)
    return tuple(dict.fromkeys(ends))


def judge_kernel(
    cluster: Cluster, sender: Side, receiver: Side, finding: Finding, verdicts: Verdicts
) -> Kernel | None:
    """What the kernels themselves decide; where they do not tell, what is reported."""
    told = {host: each for host, each in verdicts.items() if isinstance(each, KernelVerdict)}
    reported = _reported(cluster, sender, receiver)
    if not verdicts:
        return reported
    silent = [(host, each) for host, each in verdicts.items() if isinstance(each, NotTold)]
    dropping = [host for host, each in told.items() if each.verdict == "drop"]
    if dropping:
        return _judged(dropping[0], told[dropping[0]], "drop", finding)
    if silent:
        told_by = reported.host if reported is not None else ""
        host, why = next((each for each in silent if each[0] == told_by), silent[0])
        if reported is not None and reported.host == host:
            detail = f"{reported.detail}, by its report; the kernel itself is not known: {why}"
            # A report of what was applied is no look at what the kernel holds now.
            agrees = "no" if reported.agrees == "no" else "unknown"
            return Kernel(host, agrees, detail)
        return Kernel(host, "unknown", f"the kernel itself is not known: {why}")
    unknown = [host for host, each in told.items() if each.verdict == "unknown"]
    if unknown:
        return _judged(unknown[0], told[unknown[0]], "unknown", finding)
    host, last = tuple(told.items())[-1]
    return _judged(host, last, "accept", finding)


def _judged(host: HostName, told: KernelVerdict, verdict: str, finding: Finding) -> Kernel:
    agrees = "unknown"
    if verdict != "unknown" and finding.allowed is not None:
        agrees = "yes" if (verdict == "accept") is finding.allowed else "no"
    return Kernel(host, agrees, f"it {_WORDS[verdict]}: {told.by}")


def _reported(cluster: Cluster, sender: Side, receiver: Side) -> Kernel | None:
    """What the destination's agent says about the policy of this pair."""
    task = receiver.task
    if task is None or task.spec is None:
        return None
    agent = cluster.host(task.host).agent
    judgement = task.judgement
    if agent.state is not AgentState.REPORTING and judgement.verdict is not Verdict.IN_SYNC:
        return Kernel(task.host, "unknown", judgement.reason)
    if judgement.verdict is not Verdict.IN_SYNC:
        return Kernel(task.host, "no", judgement.reason)
    needed = revision_needed(cluster, task, sender.task)
    if agent.state is AgentState.UNREGISTERED:
        return Kernel(task.host, "unknown", "no agent of ours is registered there")
    if agent.applied < needed:
        detail = (
            f"it has not confirmed the newest change yet (revision {agent.applied} of {needed})"
        )
        return Kernel(task.host, "unknown", detail)
    return Kernel(task.host, "yes", f"up, and revision {needed} is applied")


def revision_needed(cluster: Cluster, receiver: TaskView | None, sender: TaskView | None) -> int:
    """The newest of what decides: both specs and their profiles."""
    revisions = [0]
    for task in (receiver, sender):
        if task is not None and task.spec is not None:
            revisions.append(task.revision)
            profiles = task.spec.profiles
            revisions.extend(cluster.profile_revisions.get(name, 0) for name in profiles)
    return max(revisions)
