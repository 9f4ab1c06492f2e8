"""What Marathon does to its clients, each by its number in the field's list.

The real controller, client and stream follow a stand-in over HTTP whose faults
are switched on; the store is in memory and the controller's clock is turned by
hand, so that a minute of waiting for the timed list takes no minute.
"""
