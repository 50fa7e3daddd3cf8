"""What the master and its children say to each other, and over which socket."""
