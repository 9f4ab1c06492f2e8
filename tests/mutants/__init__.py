"""Bugs that were planted on purpose, each of which a test must catch.

`python -m tests.mutants` copies the project, plants one bug at a time, and runs
the tests that should fail. A bug that no test catches ends it with an error, as
does one whose text is no longer in the code, or a test that fails without it.
"""
