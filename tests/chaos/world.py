"""The site under attack, its daemons, and what is known of every task in the end."""

import json
import random
import sqlite3
import time
from dataclasses import dataclass, field

import psutil
from support.daemon import Daemon
from support.php_site import PhpSite
from support.processes import alive
from support.site import Site
from support.tables import site_table, table

from chaos.judge import Policy, Stop, Story, read_log

LEASE = 20  # seconds; what is left leased ends this soon
WORKERS = {
    "count": 3,
    "boot_budget": 2,
    "max_requests": 40,
    "max_age": 20,
    "boot_timeout": 4,
    "task_timeout": 2,
    "slice": 0.1,
    "max_memory": 90,
    "hard_memory": 140,
    "crash_limit": 2,
}
QUEUES = {  # name: (weight among the pushed, settings)
    "plain": (5, {"retry_limit": 0}),
    "retry": (4, {"retry_limit": 1, "retry_interval": 1}),
    "batch": (6, {"retry_limit": 3, "batch_limit": 3}),
    "large": (4, {"retry_limit": 0, "batch_limit": 10}),
    "steps": (1, {"retry_limit": 1, "type": "Sql"}),
    "abort": (1, {"retry_limit": 0, "error": "abort", "batch_limit": 2}),
}
KINDS = {  # kind: (weight, task of support.tasks, arguments)
    "nap": (60, "nap", (0.02,)),
    "nap_long": (4, "nap", (0.7,)),
    "fail": (4, "fail", ()),
    "leave": (2, "leave", (3,)),
    "segfault": (2, "crash", ()),
    "hang": (1, "nap", (3600,)),
    "eat": (1, "gorge", (250,)),
    "noise": (3, "noise", (2,)),
    "close_stdout": (1, "close_stdout", ()),
    "offspring": (2, "offspring", (30,)),
}
CONTACTS = (None, None, 100, 200)


@dataclass
class World:
    """`folder` is where everything lies; `rng` decides what is pushed."""

    folder: object
    rng: random.Random
    php: bool = False  # a PHP site behind MINIPIPE in place of the Python site
    stories: dict = field(default_factory=dict)
    stops: list = field(default_factory=list)
    starts: int = 0

    def __post_init__(self):
        self.site = (
            PhpSite(self.folder) if self.php else Site(self.folder / "site.db", self.folder / "tasks.log")
        )
        self.up = self.folder / "up"
        self.up.touch()
        for contact in (100, 200):
            self.site.contact(contact)
        for name, (_, settings) in QUEUES.items():
            self.site.queue(name, lease_time=LEASE, **settings)
        self.site.execute(
            "CREATE TABLE chaos_audit (at REAL, id INTEGER, event TEXT, tries INTEGER, release_time INTEGER)"
        )
        now = "(julianday('now') - 2440587.5) * 86400"
        self.site.execute(
            "CREATE TRIGGER chaos_update AFTER UPDATE ON civicrm_queue_item BEGIN INSERT INTO chaos_audit"
            f" VALUES ({now}, new.id, 'update', new.run_count, new.release_time); END"
        )
        self.site.execute(
            "CREATE TRIGGER chaos_delete AFTER DELETE ON civicrm_queue_item BEGIN INSERT INTO chaos_audit"
            f" VALUES ({now}, old.id, 'delete', old.run_count, old.release_time); END"
        )

    # --- tasks ---

    def push(self, count):
        """Tasks of all kinds into all queues."""
        for _ in range(count):
            queue = self.rng.choices(list(QUEUES), [weight for weight, _ in QUEUES.values()])[0]
            kind = self.rng.choices(list(KINDS), [weight for weight, *_ in KINDS.values()])[0]
            _, task, arguments = KINDS[kind]
            contact = self.rng.choice(CONTACTS) if queue in ("batch", "retry") else None
            (item,) = self.site.push(queue, task, *arguments, run_as=contact)
            self.stories[item] = Story(item, queue, kind)

    def tend(self):
        """The administrator: an aborted queue loses the item that aborted it, and goes on."""
        rows = self.site.execute("SELECT id FROM civicrm_queue WHERE name = 'abort' AND status = 'aborted'")
        if not rows:
            return
        limit = QUEUES["abort"][1]["retry_limit"]
        for item, (tries, _) in self.site.rows("abort").items():
            if tries > limit and not self._leased(item):
                self.site.execute("DELETE FROM civicrm_queue_item WHERE id = ?", int(item))
        self.site.execute("UPDATE civicrm_queue SET status = 'active' WHERE name = 'abort'")

    def _leased(self, item):
        release_time = self.site.rows("abort").get(item, (0, None))[1]
        return release_time is not None and release_time > time.time() + 1

    def left(self):
        return self.site.left()

    # --- daemons ---

    def settings(self, graceful=3.0, **more):
        start = f"cd {self.site.root} && MINIPIPE vtl" if self.php else self.site.command()
        command = f"[ -e {self.up} ] || exit 1; {start}"
        workers = table("workers", {**WORKERS, **more})
        return f"[coworker]\ngraceful_timeout = {graceful}\n{workers}\n{site_table(command)}"

    def start(self, name, share=None):
        """A daemon; with `share`, again in the directories of an earlier one."""
        self.starts += 1
        label = f"{name}-{self.starts}"
        environment = {"CHAOS_DAEMON": label, "CHAOS_WORLD": str(self.folder)}
        running = ChaosDaemon(
            self.folder / label, self.settings(), share=share, environment=environment, wait=None
        )
        running.label = label
        return running

    def stopped(self, daemon, begin):
        self.stops.append(Stop(daemon.label, begin, time.time()))

    def processes(self):
        """Whatever still runs of what was ever started in it."""
        return [process for process in psutil.process_iter() if self._is_of(process)]

    def _is_of(self, process):
        try:
            return process.environ().get("CHAOS_WORLD") == str(self.folder) and alive(process)
        except psutil.Error:
            return False

    # --- the end ---

    def verdict_values(self):
        """What the judge needs."""
        lines = self.site.journal.read_text().splitlines() if self.site.journal.exists() else []
        left = self.site.rows()
        for item, attempts in read_log(lines).items():
            self.stories[item].attempts = attempts
        noted = {line["item"] for line in self.settled() if line.get("begun") == "noted"}
        for item, story in self.stories.items():
            story.gone = item not in left
            story.noted = item in noted and not story.attempts
        limit = WORKERS["crash_limit"]
        policies = {name: Policy(s.get("retry_limit", 0), limit) for name, (_, s) in QUEUES.items()}
        return list(self.stories.values()), policies, self.stops

    def settled(self):
        """What the daemons' logs say of the ends of claims."""
        for log in self.folder.glob("*.log"):
            for line in log.read_text(errors="replace").splitlines():
                if '"event": "settled"' in line:
                    yield json.loads(line)

    def audit(self, item):
        """What happened to a row: (seconds, event, run_count, release_time)."""
        return self.site.execute(
            "SELECT at, event, tries, release_time FROM chaos_audit WHERE id = ? ORDER BY rowid", int(item)
        )


class ChaosDaemon(Daemon):
    """A daemon whose settings bring their own [coworker]."""

    label = ""

    def configure(self, settings):
        if isinstance(settings, bytes):
            self.file.write_bytes(settings)
            return
        head, _, rest = settings.partition("\n")  # [coworker] is there already
        self.file.write_text(
            f'{head}\nrun_dir = "{self.folder}/run"\nstate_dir = "{self.folder}/state"\n{rest}\n'
            f'[log]\nlevel = "debug"\nformat = "json"\nfile = "{self.log}"\n'
        )

    def pipes(self):
        """The processes that run tasks or look."""
        ours = set(self.titles())
        return [process for process in self.tree() if process.pid not in ours]

    def remembers(self):
        """Whether it keeps something that only the master knows."""
        return any((self.folder / "state" / "claims").glob("site-*"))

    def files(self):
        """What it left in its state_dir."""
        folder = self.folder / "state"
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []


def hide(site, seconds):
    """The database fails every statement meanwhile, as when its server is restarted."""
    site.execute("ALTER TABLE civicrm_queue_item RENAME TO hidden")
    time.sleep(seconds)
    site.execute("ALTER TABLE hidden RENAME TO civicrm_queue_item")


def lock(store, seconds):
    """Nobody else gets at the store meanwhile."""
    connection = sqlite3.connect(store, timeout=10, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    finally:
        connection.close()
