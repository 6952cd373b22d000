"""The pictures: SVG, legible on a light and on a dark page, in colours that all can tell apart."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.figures import longest_wait
from benchmarks.peers.registry import SUBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

DOTS = 150
"""Per inch of what is an image inside of a picture."""

INK = "#7a7a7a"
"""Halfway between black and white: contrast over 4 on both."""

# Okabe and Ito's palette
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"


STYLE: dict[Any, Any] = {  # as `rc_context` wants it
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "font.family": "sans-serif",
    "font.size": 10,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "evertoken",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(data: Mapping[str, Mapping[str, object]], directory: str) -> list[str]:
    """Draw what `data` has figures for; the paths of the pictures."""
    paths = []
    for name, (benchmark, drawn) in PICTURES.items():
        if benchmark not in data:
            continue
        with mpl.rc_context(STYLE):
            figure = drawn(data[benchmark])
            path = os.path.join(directory, f"{name}.svg")
            figure.savefig(path, metadata={"Date": None}, bbox_inches="tight", dpi=DOTS)
        paths.append(path)
    return paths


def stall(data: Mapping[str, object]) -> Figure:
    """The auth time of each call: small pictures with the same axes, the nearest rival second."""
    titles = _mapping(data["titles"])
    shown = {
        f"{titles[name]}\nlongest {longest_wait(data, name)} ms": (name == SUBJECT, calls)
        for name, calls in _mapping(data["calls"]).items()
    }
    return _dots(shown, "ms that a call waits\nfor its token")


def heartbeat(data: Mapping[str, object]) -> Figure:
    """For how long the event loop was held at each beat, across renewals."""
    shown = {}
    for title, beats in _mapping(data["beats"]).items():
        assert isinstance(beats, list)
        longest = max(milliseconds for _, milliseconds in beats)
        shown[f"{title}\nlongest {longest:.1f} ms"] = (title.startswith(SUBJECT), beats)
    return _dots(shown, "ms that the\nevent loop is held")


def _dots(shown: Mapping[str, tuple[bool, object]], label: str) -> Figure:
    """Milliseconds over seconds, a small picture for each title; ours in its own colour."""
    figure = Figure(figsize=(9, 2.6))
    grid = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, (ours, points)) in zip(grid, shown.items(), strict=True):
        assert isinstance(points, list)
        seconds, milliseconds = zip(*points, strict=True)
        colour = BLUE if ours else VERMILION
        # thousands of dots: as an image they take a tenth of the bytes
        axes.plot(seconds, milliseconds, ".", color=colour, markersize=2.5, rasterized=True)
        axes.set_title(title, fontsize=10)
        axes.set_yscale("log")
        axes.set_xlabel("seconds")
    grid[0].set_ylabel(label)
    return figure


def shared_login(data: Mapping[str, object]) -> Figure:
    """The processes that are alive over time."""
    fleets = data["fleets"]
    assert isinstance(fleets, list)
    figure = Figure(figsize=(5.5, 3.2))
    axes = figure.subplots()
    lines = (*("-", "--", "-.", ":"), (0, (6, 1, 1, 1)))
    styles = zip((BLUE, VERMILION, ORANGE, PURPLE, GREEN), lines, strict=True)
    for fleet, (colour, style) in zip(fleets, styles, strict=False):
        deaths = fleet["died"]
        alive = [fleet["processes"] - number for number in range(len(deaths) + 1)]
        moments = [0.0, *deaths, fleet["seconds"]]
        axes.step(
            moments,
            [*alive, alive[-1]],
            linestyle=style,
            where="post",
            color=colour,
            label=fleet["name"],
        )
    axes.set_xlabel("seconds")
    axes.set_ylabel("processes without a failed call")
    axes.set_ylim(bottom=-0.3)
    axes.legend()
    return figure


def processes(data: Mapping[str, object]) -> Figure:
    """Grants per lifetime against processes, both logarithmic."""
    found, titles = _mapping(data["grants per lifetime"]), _mapping(data["titles"])
    counts = data["counts"]
    assert isinstance(counts, list | tuple)
    figure = Figure(figsize=(5.5, 3.6))
    axes = figure.subplots()
    styles = zip("os^Dv", (BLUE, VERMILION, ORANGE, PURPLE, GREEN), strict=True)
    for (name, rounds), (marker, colour) in zip(found.items(), styles, strict=False):
        assert isinstance(rounds, list)
        means = [sum(found) / len(found) for found in rounds]
        label = f"{titles[name]} (shares nothing)" if name == "by_hand" else titles[name]
        axes.plot(counts, means, color=colour, marker=marker, label=label, alpha=0.85)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    _plain_ticks(axes, counts)
    axes.set_xlabel("processes")
    axes.set_ylabel("grants per lifetime")
    axes.legend()
    return figure


def hot_path(data: Mapping[str, object]) -> Figure:
    """Nanoseconds per request as bars, the fastest on top."""
    found, titles = _mapping(data["ns"]), _mapping(data["titles"])
    shown = {name: float(str(ns)) for name, ns in found.items() if name != "floor_again"}
    names = sorted(shown, key=shown.__getitem__, reverse=True)
    figure = Figure(figsize=(7, 3.8))
    axes = figure.subplots()
    colours = [BLUE if name == SUBJECT else INK for name in names]
    bars = axes.barh(
        [str(titles[name]) for name in names], [shown[n] for n in names], color=colours
    )
    axes.bar_label(bars, [f"{shown[name]:,.0f}" for name in names], padding=4, color=INK)
    axes.set_xlabel("nanoseconds per request with a fresh token")
    return figure


def _plain_ticks(axes: Axes, values: Sequence[int]) -> None:
    axes.set_xticks(values, [str(value) for value in values])
    axes.set_yticks(values, [str(value) for value in values])


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, dict)
    return value


PICTURES: dict[str, tuple[str, Callable[[Mapping[str, object]], Figure]]] = {
    "stall": ("stall", stall),
    "heartbeat": ("asynchronous", heartbeat),
    "shared_login": ("shared_peers", shared_login),
    "processes": ("processes", processes),
    "hot_path": ("hot_path", hot_path),
}
