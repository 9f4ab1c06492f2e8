"""Carries out the plans that it reads, as a program of its own would."""

import pickle
import sys
from contextlib import closing

from calico.dataplane.kernel import KernelDataplane

if __name__ == "__main__":
    with closing(KernelDataplane()) as dataplane:
        while True:
            try:
                plan = pickle.load(sys.stdin.buffer)
            except EOFError:
                break
            print(dict(dataplane.apply(plan).failures), flush=True)
