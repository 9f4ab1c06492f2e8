"""Containers that ask for their networks: what each has, kept on disk, given and taken back."""
