"""What runtimes say on the agent's socket, as calls of the Attacher; pure."""
