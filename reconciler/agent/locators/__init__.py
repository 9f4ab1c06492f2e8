"""How a task's network namespace is found on its host."""
