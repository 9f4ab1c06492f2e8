"""The least of Mesos-DNS: names of what runs on its host's network."""
