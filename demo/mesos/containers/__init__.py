"""What becomes of a container from its order to its end, as one thread decides it.

`lifecycle` is the whole way, `overseer` what time brings on it, `attachments`
what isolators do for it; the others are values.
"""
