"""Every planted bug."""

from tests.mutants.agents import AGENTS
from tests.mutants.controllers import CONTROLLERS
from tests.mutants.leadership import LEADERSHIP
from tests.mutants.stores import STORES

MUTANTS = (*STORES, *LEADERSHIP, *CONTROLLERS, *AGENTS)
