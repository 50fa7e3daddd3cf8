"""What is claimed and not ended, in files: one format, written by two, read by one."""
