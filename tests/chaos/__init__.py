"""Chaos: a whole cluster under faults drawn from a seed, with sensors that see every leak."""
