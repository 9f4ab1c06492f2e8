"""Pure decisions: desired state, differences, plans and verdicts."""
