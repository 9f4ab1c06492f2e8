"""One file with what somebody needs who looks for a fault from elsewhere, without secrets."""
