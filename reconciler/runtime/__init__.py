"""What both loops run on: clock, queue, loop and lease."""
