"""Running the items of a batch and ending each: the rules of CiviCRM's TaskHandler (contract A3, A4)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from coworker.civiserver.errors import ApiError
from coworker.civiserver.release import Release
from coworker.claims.beginnings import CANNOT_NOTE, TaskNotes
from coworker.model import Identity, Outcome
from coworker.queues.stores.base import QueueSpec, QueueStore, StoredItem
from coworker.queues.task import Task, TaskContext, load_callback, log_line, parse_data

# What PHP calls an Error, as against an Exception: handlers before 6.2 let it escape.
PROGRAMMING_ERRORS = (TypeError, AttributeError, NameError, ArithmeticError, AssertionError, SyntaxError)

_ENDINGS = {
    Outcome.RETRY: "failed and should be retried.",
    Outcome.DELETE: "failed and will be deleted.",
    Outcome.ABORT: "failed. Queue processing aborted.",
}


class TaskFailedError(Exception):
    """The task did not do its work."""


class TaskRunner:
    """Runs tasks in this process, one after the other.

    Whatever a task raises is its failure, but for SystemExit and KeyboardInterrupt: they end the process and
    leave the item leased, as exit() does in PHP (transcripts, queue "fatal").
    """

    def __init__(self, store: QueueStore, release: Release, notes: TaskNotes | None = None) -> None:
        """`notes` is told of each task before it is called, and when it is over (rule 4)."""
        self._store = store
        self._release = release
        self._notes = notes
        self._pid = 0

    def run_batch(
        self, queue: QueueSpec, items: Sequence[StoredItem | None], identity: Identity
    ) -> list[Outcome]:
        """Run items and return one outcome for each, in order. Each has ended before the next one begins.

        None stands for an item that was asked for and is gone: it raises ApiError as the release does.
        """
        self._pid = os.getpid()
        outcomes: list[Outcome] = []
        for position, item in enumerate(items):
            outcome = self._run(queue, item, identity)
            outcomes.append(outcome)
            if outcome is Outcome.ABORT and self._release.relinquishes:
                rest = [left for left in items[position + 1 :] if left is not None]
                self._relinquish(queue, rest)
                return outcomes + [Outcome.RELINQUISH] * len(rest)
        return outcomes

    def _run(self, queue: QueueSpec, item: StoredItem | None, identity: Identity) -> Outcome:
        task = None if item is None else Task.from_data(parse_data(item.data))
        if task is None and not self._release.relinquishes:
            raise ApiError("Cannot run. Invalid task given.")
        if item is None:
            raise ApiError(
                "CRM_Queue_TaskHandler::getItemTitle(): Return value must be of type string, null returned"
            )
        error: BaseException | None
        retriable = False
        if task is None:
            error = TaskFailedError("Cannot run. Received invalid queue item.")
        elif item.run_count > 1 + queue.retry_limit:
            error = TaskFailedError(f"Skipping exhausted task after {item.run_count} tries")
        else:
            error = self._call(queue, item, task, identity)
            retriable = queue.retry_limit + 1 > item.run_count
        if error is None:
            self._store.remove(queue.name, item.id)
            return Outcome.OK
        outcome = Outcome.RETRY if retriable else Outcome.parse(queue.error)
        self._end_failed(queue, item, outcome)
        self._log(queue, item, task, f"{_ENDINGS.get(outcome, '')} {type(error).__name__}: {error}")
        return outcome

    def _call(
        self, queue: QueueSpec, item: StoredItem, task: Task, identity: Identity
    ) -> BaseException | None:
        """Run the task, and return what it failed with, or None."""
        context = TaskContext(
            queue.name, str(item.id), task.title, item.run_count, identity.contact, identity.domain or 1
        )
        begun_at = self._note_beginning(item)
        try:
            self._check_identity(task, identity)
            result = load_callback(task.callback)(context, *task.arguments)
        except Exception as error:
            if isinstance(error, PROGRAMMING_ERRORS) and not self._release.catches_errors:
                raise ApiError(str(error)) from error
            return error
        finally:
            if os.getpid() != self._pid:
                os._exit(1)  # a child that the task forked has come back: it must not end what is not its own
            if self._notes is not None:
                self._notes.ended(item.id, begun_at)
        return TaskFailedError("Queue task returned false") if result is False else None

    def _note_beginning(self, item: StoredItem) -> float:
        """Note it, or end the process: a task whose beginning nobody would know of must not be called."""
        try:
            return self._notes.begun(item.id) if self._notes is not None else 0.0
        except OSError as error:
            sys.stderr.write(f"coworker pipe: cannot note that a task begins: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(CANNOT_NOTE)

    @staticmethod
    def _check_identity(task: Task, identity: Identity) -> None:
        """Refuse a task with runAs under another contact or domain; null is a value like any other."""
        for key, actual in (("contactId", identity.contact), ("domainId", identity.domain)):
            if task.run_as is not None and key in task.run_as:
                wanted = task.run_as[key]
                if not _same(actual, wanted):
                    what = key.removesuffix("Id")
                    raise TaskFailedError(f'Cannot execute queue task. Unexpected {what} "{actual or ""}"')

    def _end_failed(self, queue: QueueSpec, item: StoredItem, outcome: Outcome) -> None:
        if outcome is Outcome.DELETE:
            self._store.remove(queue.name, item.id)
        elif outcome in (Outcome.RETRY, Outcome.ABORT):
            if outcome is Outcome.ABORT:
                self._store.set_status(queue.name, "aborted")
            self._store.release(queue.name, item.id, self._retry_time(queue))

    def _relinquish(self, queue: QueueSpec, items: Sequence[StoredItem]) -> None:
        if not items:
            return
        for item in items:
            self._log(queue, item, None, "was relinquished due to preceding failure.")
        self._store.relinquish(queue.name, [item.id for item in items], self._retry_time(queue))

    def _retry_time(self, queue: QueueSpec) -> int | None:
        return self._store.now() + queue.retry_interval if queue.retry_interval else None

    @staticmethod
    def _log(queue: QueueSpec, item: StoredItem, task: Task | None, text: str) -> None:
        title = f" ({task.title})" if task is not None and task.title else ""
        log_line(f'Task "{queue.name}#{item.id}"{title} {text}')


def _same(actual: int | None, wanted: object) -> bool:
    """Compare as PHP does there: NULL equals only NULL, numbers also their text."""
    if actual is None or wanted is None:
        return actual is None and wanted is None
    return str(actual) == str(wanted).strip()
