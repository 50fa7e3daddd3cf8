"""Decisions: values in, values out. `now` and random numbers are arguments."""
