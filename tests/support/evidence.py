"""What the journal of tasks and the daemon's log prove. Journal lines are those of Site.written()."""

from collections import Counter, defaultdict
from datetime import datetime


def run_once(site, ids):
    """Whether exactly these items were begun, each once, and ended."""
    return sorted(site.started(), key=int) == sorted(site.ended(), key=int) == sorted(ids, key=int)


def most_at_once(written, queue=None):
    """How many tasks ran at the same time at most."""
    now = most = 0
    for word, _item, name, *_ in written:
        if queue in (None, name):
            now += {"start": 1, "end": -1}.get(word, 0)
            most = max(most, now)
    return most


def contacts_of(written):
    """{pid of a pipe: the contacts that tasks ran under in it}."""
    found = defaultdict(set)
    for word, _item, _queue, contact, pid, *_ in written:
        if word == "start":
            found[pid].add(contact)
    return dict(found)


def contact_of(written):
    """{item: the contacts it ran under}; a list, so that a second run shows."""
    found = defaultdict(list)
    for word, item, _queue, contact, *_ in written:
        if word == "start":
            found[item].append(contact)
    return dict(found)


def outcomes(events):
    """{item: its outcomes}, from task_done events."""
    found = defaultdict(list)
    for event in events:
        found[event["item"]].append(event["outcome"])
    return dict(found)


def seconds(event):
    """When it was logged, as time.time() counts."""
    return datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()


def most_booting(readies):
    """How many children booted at the same time at most, from their `ready` events."""
    moments = []
    for event in readies:
        end = seconds(event)
        # The log says when the master read it, a little later than it was: so begin rather too late.
        moments += [(end - event["boot_seconds"] + 0.002, 1), (end, -1)]
    now = most = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def fewest_ready(events, count):
    """How few workers took orders at any time after the first `count` were ready."""
    ready, fewest, full = set(), count, False
    for event in events:
        if "worker" not in event:
            continue
        if event["event"] == "ready":
            ready.add(event["pid"])
        elif event["event"] in ("retiring", "gone"):
            ready.discard(event["pid"])
        full = full or len(ready) >= count
        fewest = min(fewest, len(ready)) if full else fewest
    return fewest


def repeated(items):
    """Those that occur more than once."""
    return [item for item, times in Counter(items).items() if times > 1]
