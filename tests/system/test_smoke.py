"""The daemon runs tasks."""


def config(site, workers="", **settings):
    more = "".join(f"{key} = {value}\n" for key, value in settings.items())
    return f"[workers]\n{workers}\n[sites.example]\npipe = '''{site.command()}'''\n{more}"


def test_tasks_of_a_queue_are_all_run_once(site, daemon):
    site.queue("a", batch_limit=3)
    ids = site.push("a", "empty", times=50)
    running = daemon(config(site))
    running.event("task_done", count=50)
    assert running.stop() == 0
    assert sorted(site.ended()) == sorted(ids)
    assert site.left() == 0
