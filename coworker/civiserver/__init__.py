"""The Python site: a Civi::pipe server over a queue store."""
