"""After the fork: one process, one connection to the site, one socket to the master."""
