"""What a host's kernel was seen to hold, and what it does with packets; pure."""
