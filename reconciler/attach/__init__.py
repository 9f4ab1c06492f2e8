"""Networks for containers that wait for them: the agent's socket and its thin clients."""
