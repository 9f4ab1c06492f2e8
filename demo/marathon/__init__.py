"""A stand-in for Mesos and Marathon: REST, events, placement and tasks.

`StandIn` is one whole Marathon in this process; `MemoryAgent` is a host whose
tasks are records, `HttpAgent` one whose tasks are processes.
"""

from demo.marathon.agents import HttpAgent, MemoryAgent, MesosAgent
from demo.marathon.definitions.commands import any_program, own_programs
from demo.marathon.era import Era
from demo.marathon.faults import Answer, FaultTable, RestFault, StreamFaults
from demo.marathon.serving.standby import Standby
from demo.marathon.serving.stream import Cut
from demo.marathon.stand_in import StandIn

__all__ = [
    "Answer",
    "Cut",
    "Era",
    "FaultTable",
    "HttpAgent",
    "MemoryAgent",
    "MesosAgent",
    "RestFault",
    "StandIn",
    "Standby",
    "StreamFaults",
    "any_program",
    "own_programs",
]
