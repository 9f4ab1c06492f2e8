"""What the loops run on: clock, queues, feeds, lease, pages and signals."""
