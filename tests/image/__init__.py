"""The container image and what starts it, on a real engine, with nothing pulled."""
