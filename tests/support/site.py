"""A Python site for tests: its queues, its pipe command, its rows, and what its tasks wrote down."""

import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from coworker.queues.task import Task

TESTS = Path(__file__).parent.parent


@dataclass
class Site:
    """`store` is the SQLite file, `journal` the file that the tasks of support.tasks append to."""

    store: Path
    journal: Path

    def __post_init__(self):
        self.service.site.close()

    @property
    def service(self):
        """The Python-level queue API, for one use; close its site."""
        return QueueService(open_site(f"sqlite:///{self.store}"))

    def command(self, *options, flags="vtl"):
        """The pipe command of this site; tasks are found in tests/."""
        more = " ".join(options)
        return (
            f"exec env PYTHONPATH={TESTS} {sys.executable} -m coworker pipe"
            f" --store sqlite:///{self.store} {more} {flags}"
        )

    def queue(self, name, **settings):
        """Make a queue: SqlParallel, runner task, error delete, unless said otherwise."""
        service = self.service
        service.create_queue(name, **settings)
        service.site.close()

    def push(self, queue, task, *arguments, times=1, run_as=None, **more):
        """Add `times` tasks; `task` is a name in support.tasks or "module:function". Returns their ids.

        Those of support.tasks get the journal as their first argument.
        """
        if ":" not in task:
            task, arguments = f"support.tasks:{task}", (str(self.journal), *arguments)
        run_as = {"contactId": run_as, "domainId": 1} if isinstance(run_as, int) else run_as
        service = self.service
        tasks = [Task(task, list(arguments), f"{task} {n}", run_as) for n in range(times)]
        ids = service.push_all(queue, tasks, **more)
        service.site.close()
        return [str(each) for each in ids]

    def contact(self, contact_id, user_id=None):
        """Make a contact that pipes can log in as."""
        self.execute(
            "INSERT OR REPLACE INTO civicrm_contact (id, user_id, is_blocked) VALUES (?, ?, 0)",
            contact_id,
            user_id,
        )

    def execute(self, statement, *values):
        """Run SQL on the store, and return the rows."""
        connection = sqlite3.connect(self.store, timeout=10)
        try:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()

    def rows(self, queue=None):
        """{id: (run_count, release_time)} of what is left; release_time as stored, None if free."""
        where, values = ("WHERE queue_name = ?", (queue,)) if queue else ("", ())
        found = self.execute(
            f"SELECT id, run_count, release_time FROM civicrm_queue_item {where} ORDER BY weight, id", *values
        )
        return {str(row_id): (run_count, release_time) for row_id, run_count, release_time in found}

    def left(self, queue=None):
        """How many items are left."""
        return len(self.rows(queue))

    def written(self):
        """The journal's lines, split at spaces: (word, item, queue, contact, pid, …)."""
        if not self.journal.exists():
            return []
        return [line.split() for line in self.journal.read_text().splitlines()]

    def started(self, queue=None):
        """Ids of items in the order they were begun."""
        return [w[1] for w in self.written() if w[0] == "start" and queue in (None, w[2])]

    def ended(self, queue=None):
        """Ids of items in the order they ended."""
        return [w[1] for w in self.written() if w[0] == "end" and queue in (None, w[2])]
