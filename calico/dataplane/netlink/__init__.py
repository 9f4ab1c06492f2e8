"""Links, routes, rules and connections by netlink: its sockets, and the messages over them."""
