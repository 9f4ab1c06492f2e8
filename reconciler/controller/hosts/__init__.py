"""What becomes of hosts: registered, departed, forgotten."""
