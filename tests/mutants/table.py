"""Every planted bug."""

from tests.mutants.agents import AGENTS
from tests.mutants.controllers import CONTROLLERS
from tests.mutants.stores import STORES

MUTANTS = (*STORES, *CONTROLLERS, *AGENTS)
