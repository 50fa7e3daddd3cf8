"""`coworker demo`: a temporary site with queues of every kind, the real daemon on it, and a judge.

The judge does not believe the daemon: tasks write down themselves when they begin and end.
"""
