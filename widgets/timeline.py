"""Lines over the last minutes, one a layer, that move on as figures come."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import hvplot.pandas  # noqa: F401  # gives data frames their .hvplot
import pandas as pd
import panel as pn
from holoviews.streams import Pipe

# Told apart in lightness and by dashes too, on white and on black; the same hues as in views.css.
COLOURS = {"bronze": "#b0632c", "silver": "#6f8fae", "gold": "#d6a400"}
DASHES = {"bronze": "solid", "silver": "dashed", "gold": "dotdash"}
_INK = "#7b8896"  # until the page gives the axes its own colours
_HEIGHT = 230


class Timeline:
    """A chart of one figure.

    Attributes:
        view: What to put on a page.
    """

    def __init__(self, column: str, label: str) -> None:
        """Make an empty chart.

        Args:
            column: Column of the data frames that :meth:`show` gets, beside ``at`` and ``layer``.
            label: What the figure is, with its unit.
        """
        self._column = column
        self._label = label
        self._shown = pd.DataFrame({"at": pd.to_datetime([]), "layer": [], column: []})
        self._pipe = Pipe(data=self._shown)
        self.view = pn.pane.HoloViews(  # type: ignore[no-untyped-call]
            hv.DynamicMap(self._plot, streams=[self._pipe]), sizing_mode="stretch_width", height=_HEIGHT, margin=0
        )

    def show(self, data: pd.DataFrame) -> None:
        """Show new figures; nothing is sent when they are what is shown.

        Args:
            data: Columns ``at``, ``layer`` and the chart's own.
        """
        wanted = data[["at", "layer", self._column]]
        if not wanted.equals(self._shown):
            self._shown = wanted
            self._pipe.send(wanted)

    def _plot(self, data: pd.DataFrame) -> Any:
        lines = {}
        for layer, colour in COLOURS.items():
            rows = data[data["layer"] == layer]
            line = rows.hvplot.line(
                x="at", y=self._column, label=layer, xlabel="", ylabel=self._label, hover=False, responsive=True, height=_HEIGHT
            )
            lines[layer] = line.opts(color=colour, line_dash=DASHES[layer], line_width=2)
        return hv.Overlay(list(lines.values())).opts(
            toolbar=None,
            default_tools=[],
            show_grid=True,
            legend_position="top",
            ylim=(0, None),
            fontscale=1.05,
            framewise=True,
            hooks=[_calm],
        )


def _calm(plot: Any, _: Any) -> None:
    """Take away what a chart on a page need not have."""
    from bokeh.models import NumeralTickFormatter

    figure = plot.state
    figure.output_backend = "canvas"
    figure.background_fill_alpha = figure.border_fill_alpha = 0
    figure.outline_line_color = None
    figure.min_border_left = 48
    figure.xgrid.visible = False
    figure.ygrid.grid_line_color = _INK
    figure.ygrid.grid_line_alpha = 0.25
    figure.yaxis.formatter = NumeralTickFormatter(format="0,0.[0]a")
    figure.yaxis.axis_label = None
    for axis in figure.axis:
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_color = _INK
    for legend in figure.legend:
        legend.orientation = "horizontal"
        legend.location = "left"
        legend.background_fill_alpha = 0
        legend.border_line_color = None
        legend.label_text_color = _INK
        legend.padding = legend.margin = 0
