"""The flow of a task: claimed, run, reported, settled."""
