"""The Python site: queues and tasks of its own, behind the same `Civi::pipe` protocol as CiviCRM's.

`server` speaks the protocol, `api` is APIv4's table of entities and actions, `service` the queue rules,
`runner` runs tasks, `store` keeps the rows. The daemon knows nothing of these: to it everything is a pipe
(design, section 8).
"""
