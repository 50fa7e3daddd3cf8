"""coworker: the task runner for CiviCRM."""

__version__ = "0.1.0"
