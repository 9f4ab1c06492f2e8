"""The stand-in's HTTP side: requests, the event stream, standbys."""
