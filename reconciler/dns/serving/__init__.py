"""Sockets: datagrams and streams of those who ask, and of those who are asked."""
