"""What Marathon is asked and says beside its apps."""
