"""Calico's IPAM: who has which address, and which is given next."""
