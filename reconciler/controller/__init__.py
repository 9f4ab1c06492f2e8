"""Marathon to datastore; one active per cluster."""
