"""What is claimed and not ended, in files: one writer, one reader."""
