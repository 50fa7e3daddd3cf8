"""Queues and tasks: `stores` keeps items, `task` says what an item carries and how it is called.

They are those of the Python site, for `coworker pipe` and the demo; the daemon itself does not use them.
"""
