"""Queues and tasks: `stores` keeps items, `task` says what an item carries and how it is called."""
