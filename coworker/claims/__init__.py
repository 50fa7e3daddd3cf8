"""What is claimed and not ended, in files: children and the master write them, `reading` alone reads them."""
