"""What callers send: definitions checked, completed and brought into the form of an era."""
