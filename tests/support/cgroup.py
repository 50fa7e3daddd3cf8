"""A cgroup whose counters tests may write."""

from coworker.unix.memory import OomWatch


def fake_cgroup(folder):
    """(a watch, the file that the kernel counts in)."""
    (folder / "cgroup").write_text("1:name=systemd:/\n0::/system.slice/coworker.service\n")
    slice_folder = folder / "fs/system.slice/coworker.service"
    slice_folder.mkdir(parents=True)
    events = slice_folder / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    return OomWatch(folder / "cgroup", folder / "fs"), events
