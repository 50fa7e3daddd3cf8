"""Which queues are left to a browser, and what is asked to know that."""

import pytest
from support.civi_site import LOST, Site, queue

from coworker.civi.browser_runs import YOUNG, BrowserRuns
from coworker.civi.features import queue_infos
from coworker.civi.looking import Looker
from coworker.errors import CallError


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("coworker.civi.browser_runs.time.monotonic", lambda: now[0])
    return now


class Bench:
    """A site with the setting `on`, and `jobs`: the queues of its UserJobs."""

    def __init__(self, *, on=False, jobs=()):
        self.on, self.jobs = on, list(jobs)
        self.site = Site(Setting_get=self.setting, UserJob_get=self.user_jobs)
        self.runs = BrowserRuns(self.site)

    def setting(self, params):
        return [{"name": params["select"][0], "value": self.on}]

    def user_jobs(self, params):
        ((_, _, names),) = params["where"]
        return [{"id": 1, "queue_id.name": name} for name in self.jobs if name in names]

    def left(self, *names):
        infos = queue_infos([queue(name) for name in names]).values()
        return [info.name for info in self.runs.without(list(infos))]


def test_a_queue_that_is_new_has_to_wait_and_is_asked_about_twice(clock):
    bench = Bench()
    assert bench.left("a") == []
    clock[0] += YOUNG / 2
    assert bench.left("a") == []
    clock[0] += YOUNG / 2
    assert bench.left("a") == ["a"]
    before = bench.site.exchanges
    assert bench.left("a") == ["a"]
    assert bench.site.exchanges == before, "it is known by now"


def test_the_queue_of_a_user_job_is_left_alone(clock):
    bench = Bench(jobs=["import"])
    bench.runs.trust(["import", "a"])
    assert bench.left("import", "a") == ["a"]
    clock[0] += 100
    assert bench.left("import", "a") == ["a"]


def test_a_job_that_has_its_queue_only_later_is_seen_by_then(clock):
    bench = Bench()
    assert bench.left("late") == []
    bench.jobs.append("late")
    clock[0] += YOUNG
    assert bench.left("late") == []


def test_the_name_of_an_import_suffices(clock):
    bench = Bench()
    bench.left("user_job_7", "user_job_x")
    clock[0] += YOUNG
    assert bench.left("user_job_7", "user_job_x") == ["user_job_x"]


def test_in_the_background_nothing_waits_until_that_is_turned_off(clock):
    bench = Bench(on=True, jobs=["user_job_7"])
    assert bench.left("user_job_7", "a") == ["user_job_7", "a"]
    bench.on = False
    assert bench.left("user_job_7") == []
    bench.on = True
    assert bench.left("user_job_7") == ["user_job_7"]


@pytest.mark.parametrize("answer", [CallError("refused"), [], [{}], [None]])
def test_a_setting_that_cannot_be_read_is_off(clock, answer):
    bench = Bench(on=True)
    bench.site.answers["Setting_get"] = answer
    assert bench.left("user_job_7") == []


def test_whose_queues_they_are_may_be_refused(clock):
    bench = Bench()
    bench.site.answers["UserJob_get"] = CallError("Authorization failed")
    bench.runs.trust(["a", "user_job_7"])
    assert bench.left("a", "user_job_7") == ["a"]


@pytest.mark.parametrize("call", ["Setting_get", "UserJob_get"])
def test_a_lost_database_is_no_answer(call):
    bench = Bench()
    bench.site.answers[call] = LOST
    with pytest.raises(CallError, match="DB Error"):
        bench.left("a")


def test_a_look_finds_only_what_may_be_claimed_from():
    site = Site(
        Queue_getFields=[],
        Queue_get=[queue("a"), queue("user_job_7")],
        QueueItem_get=lambda params: (
            [{"queue_name": n} for n in ("a", "user_job_7")] if "groupBy" in params else [{"id": 1}]
        ),
        UserJob_get=[],
        Setting_get=[{"value": "0"}],
    )
    looker = Looker(site)
    looker.browser_runs.trust(["a", "user_job_7"])
    assert [info.name for info in looker.look().queues] == ["a"]
