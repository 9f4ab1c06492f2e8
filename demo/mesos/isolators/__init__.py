"""How a Mesos agent gives a container its network before the container may run.

`cni` is Mesos' own `network/cni` isolator, `netmodules` the module that Mesos
0.26 to 0.28 loaded for it; both call programs of the operator's.
"""
