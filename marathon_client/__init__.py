"""Marathon as it is: apps, tasks and the event stream; knows nothing of networks."""
