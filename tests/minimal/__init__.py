"""The smallest Marathon and Mesos agent that the product can run against.

Written for tests from Marathon's API alone, with nothing of the demo's
stand-in, so that no quirk of that one becomes something we depend on.
"""
