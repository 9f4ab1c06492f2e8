"""Names of tasks as Mesos-DNS makes them, answered from what the datastore holds."""
