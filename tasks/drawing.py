"""Figures as images; and the curves of trainings, which a process draws while others work: matplotlib takes two seconds.

    python -m tasks.drawing < curves.json      # {training: {name: [[step, value], ...]}}; prints a data URL

Imports no other tool, so that the process starts fast.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any

Curves = dict[str, dict[str, list[tuple[int, float]]]]
"""By training, and by name of what was logged of it: steps and values."""


def image(figure: Any) -> str:
    """A matplotlib figure as the data URL of a PNG; the figure is closed."""
    from matplotlib import pyplot

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    pyplot.close(figure)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def draw(curves: Curves) -> str:
    """A panel for each training, all in one PNG, as a data URL."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 3
    figure, axes = pyplot.subplots(-(-len(curves) // columns), columns, figsize=(12, 2.4 * -(-len(curves) // columns)), squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis, (training, lines) in zip(axes.flat, curves.items(), strict=False):
        for name, points in lines.items():
            axis.plot(*zip(*sorted(points), strict=True), label=name, linewidth=1.2)
        axis.set_title(training, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=6)
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.3 / len(axes), top=1 - 0.25 / len(axes), hspace=0.4, wspace=0.15)
    return image(figure)


if __name__ == "__main__":
    print(draw(json.load(sys.stdin)))
