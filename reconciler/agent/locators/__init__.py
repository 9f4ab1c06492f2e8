"""From a task id to the network namespace that the task runs in."""
