"""What the controller takes away, what it waits for before, and what it holds."""
