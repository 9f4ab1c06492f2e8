"""What Marathon says: the bodies of REST's answers and of events."""
