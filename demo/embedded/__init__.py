"""The embedded cluster: its hosts, its processes, and who starts and ends them."""
