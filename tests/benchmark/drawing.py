"""Charts of a report, as SVG."""

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.benchmark.measure import Spread

COLOURS = ("#27648f", "#d08a2e", "#6b9e5b", "#8c5c8c")
FILL = 0.8  # of the room of a group
STABLE = {"svg.hashsalt": "coworker", "font.size": 9}


def draw(report, path):
    """All charts of the report, one below the other."""
    with mpl.rc_context(STABLE):
        figure = Figure(figsize=(7.5, 2.8 * len(report.charts)), layout="constrained")
        axes = figure.subplots(len(report.charts), squeeze=False)[:, 0]
        for axis, chart in zip(axes, report.charts, strict=True):
            _bars(axis, chart, report)
        figure.savefig(path, metadata={"Date": None})


def _bars(axis, chart, report):
    rows = [row for row in report.rows if any(row.get(key) is not None for key in chart.values)]
    width = FILL / len(chart.values)
    for number, key in enumerate(chart.values):
        places = [place + (number - (len(chart.values) - 1) / 2) * width for place in range(len(rows))]
        spreads = [_spread(row.get(key)) for row in rows]
        errors = [[s.median - s.low for s in spreads], [s.high - s.median for s in spreads]]
        axis.bar(
            places, [s.median for s in spreads], width, yerr=errors, label=report.columns[key],
            color=COLOURS[number], error_kw={"elinewidth": 0.8, "capsize": 2},
        )  # fmt: skip
    if chart.target is not None:
        axis.axhline(
            chart.target, color="#b03030", linewidth=0.9, linestyle="--", label=f"target {chart.target:g}"
        )
    names = [", ".join(str(row[key]) for key in chart.names) for row in rows]
    axis.set_xticks(range(len(rows)), names)
    axis.set_xlabel(", ".join(report.columns[key] for key in chart.names))
    axis.set_title(chart.title, loc="left")
    axis.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.spines[["top", "right"]].set_visible(False)
    if chart.log:
        axis.set_yscale("log")


def _spread(value):
    return value if isinstance(value, Spread) else Spread(value or 0, value or 0, value or 0)
