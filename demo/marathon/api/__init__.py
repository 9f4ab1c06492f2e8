"""Marathon's REST API: requests in, replies out; each runs on the loop's thread."""
