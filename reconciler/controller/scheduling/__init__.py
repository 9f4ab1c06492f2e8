"""What is due in the controller's loop: by events, by timers, and again."""
