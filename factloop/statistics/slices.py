"""Where two systems differ: kinds of examples, and the examples themselves.

Intervals of slices are not corrected for their number: they say where to look, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import Estimate
from .paired import Array, mean_interval

Row = dict[str, Any]
FEWEST = 5  # examples of a slice that is shown
FIELDS = ("source", "topic", "error")  # of a row that has them
WORST_FIRST = ("contradicted", "unsupported detail", "unparsed")


def slices(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Kinds of examples by name, each with the places of its examples; kinds of fewer than 5 are left out.

    `rows` are those of the first system: what it got wrong is a kind of example, too.
    """
    found = _thirds("document of {} words", [len(row["document"].split()) if "document" in row else None for row in rows])
    found |= _thirds("table of {} cells", [_cells(row) for row in rows])
    for label, values in _named(rows).items():
        for value in dict.fromkeys(values):
            if value is not None:
                found[f"{label} {value}"] = [place for place, other in enumerate(values) if other == value]
    return {name: places for name, places in found.items() if FEWEST <= len(places) < len(rows)}


def _named(rows: Sequence[Row]) -> dict[str, list[Any]]:
    tables = [row.get("table", row) for row in rows]
    named = {field: [row.get(field) for row in rows] for field in FIELDS}
    named["table"] = [table.get("title") for table in tables]
    named["first wrote"] = [_observed(row) for row in rows]
    return named


def _observed(row: Row) -> str | None:
    """The gravest error that the oracle found; None where it does not judge."""
    statements = row.get("statements")
    if statements is None:
        return None
    said = {item["verdict"] for item in statements}
    return next((verdict for verdict in WORST_FIRST if verdict in said), "no error")


def _cells(row: Row) -> int | None:
    table = row.get("table", row)
    return len(table["header"]) * len(table["rows"]) if "header" in table and "rows" in table else None


def _thirds(label: str, sizes: Sequence[int | None]) -> dict[str, list[int]]:
    """Thirds by size, named by the range of each; equal sizes fall together."""
    given = [size for size in sizes if size is not None]
    if not given:
        return {}
    cuts = np.quantile(given, [1 / 3, 2 / 3])
    groups: dict[int, list[int]] = {}
    for place, size in enumerate(sizes):
        if size is not None:
            groups.setdefault(int((size > cuts).sum()), []).append(place)
    named = {}
    for _, places in sorted(groups.items()):
        own = [size for place in places if (size := sizes[place]) is not None]
        named[label.format(f"{min(own)} to {max(own)}" if min(own) < max(own) else min(own))] = places
    return named


def slice_differences(found: Mapping[str, Array], places: Sequence[int]) -> dict[str, Estimate]:
    """The difference on one slice for every metric that is a mean, from `example_shares`."""
    differences = {}
    for name, values in found.items():
        own = values[list(places)]
        own = own[~np.isnan(own)]
        if len(own) >= FEWEST:
            differences[name] = Estimate(float(own.mean()), *mean_interval(own))
    return differences


def most_different(found: Mapping[str, Array], outputs: Sequence[tuple[str, str]], count: int) -> list[int]:
    """The places of the examples that differ most, among those with different outputs.

    By the mean over metrics of the difference, each in its standard deviations.
    """
    scaled = [np.abs(np.nan_to_num(values)) / spread for values in found.values() if (spread := float(np.nanstd(values)))]
    distance = np.mean(scaled, 0) if scaled else np.zeros(len(outputs))
    order = np.argsort(-distance, kind="stable")
    return [int(place) for place in order if outputs[place][0] != outputs[place][1]][:count]
