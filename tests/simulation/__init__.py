"""The real controllers and agents on twins of etcd, Marathon, hosts and clock.

One seed is one schedule: who runs when, what fails where and what people do
meanwhile are drawn from it, and nothing else decides. Most are short; how many
actions they have, and how often, is `MIX` of `schedule`. The long ones have up to
three controllers and three hosts.

What goes wrong, as often and for as long as `RATES` of `faults` and the actions of
`schedule` say:

- processes: killed or told to end and started again, or stopped, at any
  operation of any thread, so that several controllers believe that they lead;
  their wall clocks are up to an hour off;
- etcd: a request is not sent, or done and its answer lost, or arrives when nobody
  waits for it any more, also after its sender's death; a refusal is lost; a
  process is cut off; events lag, or all but the last `WINDOW` of `twins.etcd` are
  forgotten; keys with a time to live run out early or late (`LATE_BY`); it is set
  back to a backup or emptied, with `--restores` and `--wipes` in each schedule;
- Marathon: events are lost, doubled, late and out of order; requests fail; it
  lists nothing, a half, all but one app, what was true before, or the apps of
  another framework; it changes its leader; it gives up tasks that live on; it
  is upgraded past 1.5, which drops the groups of every app;
- hosts: reboot with or without their disk, are off until they are forgotten,
  reuse the numbers of processes and namespaces, lose links to another program,
  cannot find where tasks are;
- people: erase a profile, approve what is held and right, start what fails again
  and again, and have given all but a few addresses to another orchestrator; with
  `--adopts`, and at times without, they go on after a restore before all hosts
  have told.

What holds after every step (`invariants`): P1, P2 for new connections and old
ones, on stale hosts too, P3, P4, P5, and P7 once etcd was set back; in the end
P8, and P13 where a schedule rests. `every_position` spoils scenarios position by
position.

Containers are attached before their tasks run: the plugin's call goes to the
code that serves the agent's socket, in threads that one scheduler runs. It is
made twice, cut off by a kill, a stop or a reboot, or it is late; a container is
taken away once, twice or never, and its task may end before it is attached.
Until a task has its endpoint nobody may reach it (P2); in the end no agent keeps
anything of a container that is gone (P8). Not here: the plugin's program and the
socket itself; followers of etcd that lag, which no read of ours asks.
"""
