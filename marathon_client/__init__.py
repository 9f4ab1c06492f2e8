"""Marathon as it is: apps, tasks and the event stream; knows nothing of networks.

`client.MarathonClient` reads the state and `stream.EventStream` tells when to
read it again; both take several URLs and survive what servers and networks do.
"""
