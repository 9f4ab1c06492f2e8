"""The small process that forks tasks into their namespaces, and the agent's end of it.

`serve` is the process: without threads, so that forking is safe, and without
third-party modules, so that a task starts within milliseconds. `child` is what
a forked process does until it executes its program; `client` speaks to both.
"""
