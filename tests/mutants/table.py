"""Every planted bug."""

from tests.mutants.adoptions import ADOPTIONS
from tests.mutants.agents import AGENTS
from tests.mutants.controllers import CONTROLLERS
from tests.mutants.hosts import HOSTS
from tests.mutants.leadership import LEADERSHIP
from tests.mutants.outputs import OUTPUTS
from tests.mutants.removals import REMOVALS
from tests.mutants.stores import STORES

MUTANTS = (
    *STORES,
    *LEADERSHIP,
    *CONTROLLERS,
    *REMOVALS,
    *ADOPTIONS,
    *AGENTS,
    *HOSTS,
    *OUTPUTS,
)
