"""Marathon's mind, without IO and clock: state, plans, deployments, tasks."""
