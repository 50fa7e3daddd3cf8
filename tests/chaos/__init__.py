"""The daemon is attacked at random, and in the end the books must balance: `python -m tests.chaos --help`."""
