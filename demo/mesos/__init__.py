"""The stand-in for a Mesos agent: it owns the tasks of one host.

`agent` keeps the tasks, `launcher` is the small process that forks them into
their namespaces, `server` answers Marathon and whoever asks `/containers`.
"""
