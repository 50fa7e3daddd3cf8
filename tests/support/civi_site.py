"""A stand-in for a client, which answers what CiviCRM did."""

from coworker.errors import CallError

NO_QUEUE_ITEM = CallError(
    "API (QueueItem, get) does not exist (or the extension it belongs to is not enabled)."
)
NO_USER_JOB = CallError("API (UserJob, get) does not exist (or the extension it belongs to is not enabled).")
NO_QUEUE_RUN = CallError("Api Queue run version 4 does not exist.")
LOST = CallError("DB Error: no database selected")
NOW = "2026-11-21 18:37:27"


class Site:
    """Answers from a table of functions by (entity, action), and keeps what was asked. It has no imports."""

    masks_errors = False
    welcome = None

    def __init__(self, **answers):
        self.answers = {"UserJob_get": NO_USER_JOB, **answers}
        self.asked = []
        self.exchanges = 0

    def api4(self, entity, action, params, *, timeout=None):
        answer = self._answer(entity, action, params)
        self.exchanges += 1
        if isinstance(answer, CallError):
            raise answer
        return answer

    def api4_batch(self, calls, *, timeout=None):
        self.exchanges += bool(calls)
        return [self._answer(*call) for call in calls]

    def _answer(self, entity, action, params):
        self.asked.append((entity, action, params))
        answer = self.answers[f"{entity}_{action}"]
        return answer(params) if callable(answer) else answer


def queue(name, **fields):
    return {"id": 1, "name": name, "type": "SqlParallel", "batch_limit": 1, "lease_time": 3600, **fields}
