"""Results for people and for programs."""

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.benchmark.measure import Spread


class Chart(NamedTuple):
    """Bars: a group for each row, named by the columns `names`, a bar in it for each of `values`."""

    title: str
    names: tuple[str, ...]
    values: tuple[str, ...]
    target: float | None = None  # a line across
    log: bool = False


@dataclass
class Report:
    """`columns` maps the keys of `rows` to titles with units; `about` says what was measured, and how."""

    name: str
    about: dict
    columns: dict
    rows: list = field(default_factory=list)
    charts: tuple[Chart, ...] = ()
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def as_json(self):
        """One object; a Spread is {median, low, high}."""
        rows = [{key: _plain(value) for key, value in row.items()} for row in self.rows]
        whole = {"name": self.name, "machine": machine(), "load": self._load(), **self.about, "rows": rows}
        return json.dumps(whole, indent=2)

    def as_table(self):
        """Aligned columns under the machine and the load; a Spread is `median (low-high)`."""
        lines = self._cells()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
        return "\n".join([*self._head(), "", *body])

    def save(self, folder: Path):
        """NAME.md with the table, and NAME.svg with the charts if there are any."""
        title, *lines = self._cells()
        rows = [title, ["-"] * len(title), *lines]
        table = ["| " + " | ".join(cells) + " |" for cells in rows]
        picture = [f"![{self.name}]({self.name}.svg)", ""] if self.charts else []
        text = [f"# {self.name}", "", *self._head(), "", *picture, *table, ""]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text("\n".join(text))
        if self.charts:
            from tests.benchmark.drawing import draw  # needs matplotlib

            draw(self, folder / f"{self.name}.svg")

    def _head(self):
        about = ", ".join(f"{key} {value}" for key, value in self.about.items())
        begun, now = self._load()
        return [f"{self.name}: {about}", f"{machine()}; load {begun:.2f} before, {now:.2f} after"]

    def _cells(self):
        rows = [[_text(row.get(key)) for key in self.columns] for row in self.rows]
        return [list(self.columns.values()), *rows]

    def _load(self):
        return [self.load_before, os.getloadavg()[0]]


def machine():
    """What the numbers depend on."""
    cores = len(os.sched_getaffinity(0))
    kernel = platform.release().split("-")[0]
    return f"Python {platform.python_version()}, {platform.system()} {kernel}, {cores} x {_cpu_model()}"


def _cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _plain(value):
    return value._asdict() if isinstance(value, Spread) else value


def _text(value):
    if isinstance(value, Spread):
        return f"{_text(value.median)} ({_text(value.low)}-{_text(value.high)})"
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
