"""When something may be taken away or given again; pure."""
