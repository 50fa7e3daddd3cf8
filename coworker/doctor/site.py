"""What a site answers: booted, greeted and asked once as the daemon would."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from coworker.child.connect import adapter_of, client_of, connect, way
from coworker.child.site_probe import SiteProbe
from coworker.child.tokens import issue
from coworker.civi import launch, opcache
from coworker.civi.connection import SiteClient
from coworker.civi.features import SiteFeatures, Welcome, active_queues, probe
from coworker.civi.queues import claim
from coworker.config.remote import seems_remote
from coworker.config.settings import SiteSettings
from coworker.doctor.findings import Finding, Findings, Mark, bad, doubtful, good
from coworker.errors import CallError, SiteError
from coworker.model import QueueInfo, Role
from coworker.policy.site_health import Observed, holds
from coworker.unix.poller import Poller, steady

SLOW_BOOT, SLOW_CALL = 5.0, 0.5  # seconds
SKEW = 30.0  # seconds that two clocks may differ
ZONE = 900  # seconds: time zones differ by multiples of it
LITTLE_MEMORY = 128  # MiB
UNITS = {"K": 1 / 1024, "M": 1, "G": 1024}
ECHOES = 5


def check_site(site: SiteSettings) -> Findings:
    """Check a site through the connection of control, and that of the workers where it is another."""
    try:
        with _connected(site, Role.CONTROL) as (client, seconds):
            assert client.welcome is not None  # noqa: S101 - it has said hello
            yield from _check_boot(site, Role.CONTROL, client.welcome, seconds)
            yield from _check_answers(site, client, client.welcome)
            if way(site, Role.WORKER) != way(site, Role.CONTROL):
                yield from _check_workers(site, client)
    except SiteError as error:
        yield _of_no_use(site, Role.CONTROL, error)
    else:
        yield from _check_probe(site)
        yield from _check_opcache(site)


def _check_workers(site: SiteSettings, control: SiteClient) -> Findings:
    """Check the workers' own connection; without a credential, with a token that control makes."""
    try:
        with _connected(site, Role.WORKER, partial(issue, control)) as (client, seconds):
            assert client.welcome is not None  # noqa: S101 - it has said hello
            yield from _check_boot(site, Role.WORKER, client.welcome, seconds)
    except SiteError as error:
        yield _of_no_use(site, Role.WORKER, error)


def _of_no_use(site: SiteSettings, role: Role, error: SiteError) -> Finding:
    return bad("boot", f"{way(site, role)}: {error}", _advice(str(error)))


@contextmanager
def _connected(
    site: SiteSettings, role: Role, token_of: Callable[[int], str] | None = None
) -> Iterator[tuple[SiteClient, float]]:
    """Return the client, and how long the boot took (seconds). Raises SiteError."""
    began = steady()
    poller = Poller()
    connection = connect(site, role, poller)
    try:
        client = client_of(site, connection, token_of)
        deadline = began + site.workers.boot_timeout
        client.handshake(minimum_version=site.civicrm_version, deadline=deadline)
        yield client, steady() - began
    finally:
        connection.end()


def _advice(message: str) -> str:
    for sign, advice in (
        ("Permission denied (publickey", "give ssh_key_file, and put its public half there"),
        ("Host key verification failed", "is it the right host? then ssh-keyscan it into known_hosts"),
        ("not trusted", "start it with the flags vtl"),
        ("HTTP 401", "check web_token_file, and that authx accepts api keys"),
        ("administer queues", "give the contact's user these permissions"),
        ("certificate", "mend the certificate, or set web_ca_file"),
        ("not enabled", "enable CiviCRM in the CMS"),
        ("not found", "give the right command in pipe"),
        ("too old", "update CiviCRM, or lower civicrm_version"),
    ):
        if sign in message:
            return advice
    return "run the command by hand, as the daemon's user"


def _check_boot(site: SiteSettings, role: Role, welcome: Welcome, seconds: float) -> Findings:
    over_web = way(site, role) == "web"
    text = f"{'first answer' if over_web else 'ready'} after {seconds:.2f} s"
    if seconds > SLOW_BOOT:
        advice = "max_requests and max_age make up for it"
        yield doubtful("boot", f"{text}: slow, and every worker boots anew now and then", advice)
    else:
        yield good("boot", text)
    trust = "" if over_web else ", trusted"
    yield good("welcome", f"CiviCRM {welcome.version}{trust}")
    if not welcome.login:
        advice = "enable the extension authx"
        yield bad("authx", "nobody can log in: tasks of contacts would all be given back", advice)
    elif over_web:
        text = "over HTTP only tasks of the system and of the credential's own contact run"
        if not site.is_hybrid:
            yield doubtful("identity", text, 'channel = "pipe,web" with web_contact, or pipes')
    else:
        yield good("authx", "pipes can log in")


def _check_answers(site: SiteSettings, client: SiteClient, welcome: Welcome) -> Findings:
    """Make one check after the other; one that is refused says so and spoils no other."""
    try:
        features = probe(client)
        queues = active_queues(client, features)
    except CallError as error:
        yield bad("queues", f"the Queue API refuses us: {error}", "give the contact 'administer queues'")
        return
    yield from _check_features(site, features, queues)
    for check in (_check_state, _check_clock, _check_domains, _check_speed):
        try:
            yield from check(site, client, welcome)
        except (CallError, LookupError, TypeError, ValueError) as error:
            yield doubtful(check.__name__.removeprefix("_check_"), f"cannot be told: {error}")
    yield from _check_claim(client, queues)


def _check_features(site: SiteSettings, features: SiteFeatures, queues: dict[str, QueueInfo]) -> Findings:
    if features.queue_item:
        yield good("QueueItem API", "there: what was claimed and not run goes back at once")
    elif adapter_of(site, Poller()) is not None:
        yield good(
            "QueueItem API", "not there (before 6.4); MINIPIPE gives back what was claimed and not run"
        )
    else:
        text = "not there (before 6.4): what was claimed and not run stays leased"
        yield doubtful("QueueItem API", text, 'pipe = "MINIPIPE vtl" can give it back')
    if not queues:
        text = "none that a background agent may work (active, with a runner)"
        yield doubtful("queues", text, "that is fine on a site where nothing runs in the background yet")
        return
    yield good("queues", f"{len(queues)} with a runner: {', '.join(sorted(queues)[:5])}")
    for info in queues.values():
        timeout = site.task_timeout(info.name)
        if info.lease_time < timeout and not (features.queue_item and info.lease_time > 16):
            text = (
                f"queue {info.name}: lease_time {info.lease_time} s is less than task_timeout {timeout:g} s"
            )
            yield doubtful("lease", text, "its tasks are ended before their lease; raise its lease_time")
        if info.linear and info.batch_limit > 1:
            text = f"queue {info.name}: type Sql with batch_limit {info.batch_limit} fails at every claim"
            yield bad("queues", text, "set its batch_limit to 1")


def _check_state(site: SiteSettings, client: SiteClient, welcome: Welcome) -> Findings:
    probe = SiteProbe(client, welcome.version, None, masked=client.masks_errors, imports=False, fresh=False)
    probe.read_settings()
    state = probe.observe()
    held = holds(Observed(*state[:4]), allow_non_production=site.allow_non_production) if state else []
    for hold in held:
        yield bad("state", hold.reason, "nothing is claimed until that is over")
    if not held and state is not None:
        yield good(
            "state", f"environment {state.environment or 'unknown'}, no maintenance, no upgrade pending"
        )
    wanted = {"select": ["queue_paused", "enableBackgroundQueue"]}
    values = {row["name"]: row["value"] for row in client.api4("Setting", "get", wanted)}
    if _is_on(values.get("queue_paused")):
        yield doubtful("queue_paused", "is on: claims come back empty", "unset it to go on")
    if "enableBackgroundQueue" in values and not _is_on(values["enableBackgroundQueue"]):
        text = "is off: imports run in the browser, and their queues are left alone"
        yield doubtful("enableBackgroundQueue", text, "turn it on in CiviCRM's settings")


def _is_on(value: Any) -> bool:
    return str(value) in ("1", "True")


def _check_clock(_site: SiteSettings, client: SiteClient, _welcome: Welcome) -> Findings:
    rows = client.api4("Domain", "get", {"select": ["NOW() AS now"], "currentDomain": True})
    there = datetime.fromisoformat(rows[0]["now"])
    skew = (there - datetime.now().replace(microsecond=0)).total_seconds()
    rest = (skew + ZONE / 2) % ZONE - ZONE / 2
    zone = "" if abs(skew) < ZONE / 2 else f", {round((skew - rest) / 60):+d} min by its time zone"
    if abs(rest) > SKEW:
        yield doubtful("clock", f"the site's is {rest:+.0f} s from ours{zone}", "synchronise both (NTP)")
    else:
        yield good("clock", f"the site's is within {abs(rest):.0f} s of ours{zone}")


def _check_domains(site: SiteSettings, client: SiteClient, _welcome: Welcome) -> Findings:
    rows = client.api4("Domain", "get", {"select": ["id"]})
    own = client.api4("Domain", "get", {"select": ["id"], "currentDomain": True})
    ids = sorted(int(row["id"]) for row in rows)
    served = {int(own[0]["id"]), *(domain.number for domain in site.domains)}
    unserved = [each for each in ids if each not in served]
    if unserved:
        what = ", ".join(map(str, unserved))
        advice = f"add [sites.{site.name}.domains.{unserved[0]}] with its pipe, if it has queues"
        yield doubtful("domains", f"no pipe serves domain {what}: its tasks are given back", advice)
    else:
        yield good("domains", ", ".join(map(str, ids)))


def _check_speed(_site: SiteSettings, client: SiteClient, _welcome: Welcome) -> Findings:
    """Time a call that does next to nothing."""
    times = []
    for _ in range(ECHOES):
        began = time.monotonic()
        client.api4("Domain", "get", {"select": ["id"], "currentDomain": True})
        times.append(time.monotonic() - began)
    yield _timed("call", median(times))


def _check_claim(client: SiteClient, queues: dict[str, QueueInfo]) -> Findings:
    """Claim from a queue without rows: nothing is claimed, but the table is locked as for any claim."""
    try:
        rows = client.api4("QueueItem", "get", {"select": ["queue_name"], "groupBy": ["queue_name"]})
        empty = [name for name in queues if name not in {row["queue_name"] for row in rows}]
        if not empty:
            return
        began = time.monotonic()
        claim(client, empty[0])
        yield _timed("claim", time.monotonic() - began)
    except CallError as error:
        if "does not exist" not in str(error):
            yield bad("claim", f"is refused: {error}", "does the database user have LOCK TABLES?")


def _timed(check: str, seconds: float) -> Finding:
    text = f"answered in {seconds * 1000:.1f} ms"
    return Finding(Mark.WARNING if seconds > SLOW_CALL else Mark.OK, check, text)


def _check_probe(site: SiteSettings) -> Findings:
    """Show what only PHP itself can tell, where the adapter can run beside the site's pipe."""
    facts = _probe(site)
    if facts is None:
        return
    limit = _mebibytes(str(facts.get("memory_limit")))
    text = f"PHP {facts.get('php')}, memory_limit {facts.get('memory_limit')}"
    if limit is not None and limit < LITTLE_MEMORY:
        yield doubtful("memory_limit", text, "raise it for the command line: imports and mailings need more")
    else:
        yield good("memory_limit", f"{text}; hard_memory {site.workers.hard_memory} MiB")
    grants = facts.get("grants")
    if grants and not any("LOCK TABLES" in each or "ALL PRIVILEGES" in each for each in grants):
        yield bad("LOCK TABLES", "the database user may not: no claim would work", "GRANT LOCK TABLES ON …")
    elif grants:
        yield good("LOCK TABLES", "granted, as far as is visible")


def _check_opcache(site: SiteSettings) -> Findings:
    """Time a boot with and without compiled code; not that of the daemon, which may be another user's."""
    if not site.opcache or not launch.uses_adapter(site.pipe):
        return
    with TemporaryDirectory(prefix="coworker-") as folder:
        try:
            cache = opcache.prepare(site, Path(folder))
        except opcache.NoCacheError as error:
            yield good("opcache", f"not used: {error}")
            return
        times = []
        for each in (None, cache, cache):  # the second fills it
            began = steady()
            _probe(site, each)
            times.append(steady() - began)
        has_opcache = any(cache.iterdir())
    if has_opcache:
        yield good("opcache", f"a boot takes {times[2]:.2f} s, without it {times[0]:.2f} s")
    else:
        text = f"PHP has none for the command line: each boot of {times[0]:.2f} s compiles all code anew"
        yield doubtful("opcache", text, "install it (php-opcache)")


def _probe(site: SiteSettings, cache: Path | None = None) -> dict[str, Any] | None:
    local = site.needs_pipe and site.ssh is None and not seems_remote(site.pipe)
    if not local:
        return None
    line = site.pipe if launch.uses_adapter(site.pipe) else "MINIPIPE"
    command = launch.expand(f"{line} --probe", cache)
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=site.cwd, env=launch.environment(os.environ), check=False,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=site.workers.boot_timeout,
        )  # fmt: skip
        facts = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        return None
    return facts if isinstance(facts, dict) else None


def _mebibytes(text: str) -> float | None:
    """Return the MiB that `256M` says; None for no limit."""
    number, unit = text[:-1] or "0", text[-1:].upper()
    if unit in UNITS and number.isdigit():
        return int(number) * UNITS[unit]
    return int(text) / 1024**2 if text.isdigit() else None
