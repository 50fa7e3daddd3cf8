"""`coworker doctor`: every check worth making, one line each."""
