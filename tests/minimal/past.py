"""A host that has a past, for tests in which no controller vouches for the store."""

from pathlib import Path

from calico.model import BootId, HostName
from reconciler.agent.main import STATE_FILE
from reconciler.agent.state_file import SavedState, render_state, write_state


def give_past(state_dir: Path, host: str) -> None:
    """Have the agent that begins there know that a leader vouched, and nothing else."""
    state = SavedState(HostName(host), BootId("before"), vouched=True)
    write_state(state_dir / STATE_FILE, render_state(state))
