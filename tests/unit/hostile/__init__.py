"""What users, servers and broken disks may send, as whole passes of the real code."""
