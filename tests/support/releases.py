"""Releases of a site, as deployments lay them: a directory each, and the link `current` to that of today."""

import shutil
from pathlib import Path

from support.tasks import RELEASED, append


class Releases:
    """`fill` copies the site's own files into the directory of a release, if it has any there."""

    def __init__(self, directory, site, fill=Path.mkdir):
        self.directory, self.site, self._fill = Path(directory), site, fill
        self.directory.mkdir()
        self.current = self.directory / "current"
        self.lay("1")
        self.switch("1")

    def path(self, version):
        return self.directory / version

    def lay(self, version):
        """Make a release; nobody sees it yet."""
        self._fill(self.path(version))
        (self.path(version) / RELEASED).write_text(version)
        return self.path(version)

    def switch(self, version):
        """Make it today's, in one step, and have the tasks' journal say when."""
        new = self.directory / "new"
        new.symlink_to(version)
        new.replace(self.current)
        append(self.site.journal, "switch", version)

    def delete(self, version):
        shutil.rmtree(self.path(version))

    def started(self):
        """The releases that tasks began with: a list for each time between two switches."""
        parts = []
        for word, *fields in self.site.written():
            if word == "switch":
                parts.append([])
            elif word == "start":
                parts[-1].append(fields[-1])
        return parts

    def wait_for(self, version, wait_until, count=1):
        """Wait until so many tasks have begun with this release."""
        wait_until(lambda: sum(p.count(version) for p in self.started()) >= count, f"release {version} runs")
