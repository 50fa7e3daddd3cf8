"""Before the fork: the loop, and everything that it decides."""
