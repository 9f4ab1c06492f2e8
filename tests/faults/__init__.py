"""Faults on purpose: a TCP proxy that breaks what passes, switched while it runs."""
