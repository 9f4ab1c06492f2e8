"""Netlink sockets, and the messages that go over them."""
