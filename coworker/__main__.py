"""`python -m coworker` is the same as `coworker`."""

from coworker.cli import main

main()
