from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from widgets.banner import Alert, banner
from widgets.bars import Bar, bars
from widgets.grid import Cell, Column, Row, grid
from widgets.live import Live
from widgets.pipeline import Branch, Figure, Part, Stage, pipeline, widths
from widgets.render import ago
from widgets.states import state
from widgets.timeline import Timeline

EVIL = "<img src=x onerror=alert(1)>"


def test_what_comes_from_data_is_never_markup() -> None:
    views = [
        banner(state(EVIL), EVIL, [Alert("bad", EVIL, EVIL)]),
        bars([Bar(EVIL, 3, EVIL)], EVIL),
        grid([Column(EVIL, hint=EVIL)], [Row([Cell(EVIL, EVIL)], alarm=EVIL, group=EVIL)], EVIL),
        pipeline(
            [Stage("kafka", EVIL, EVIL, EVIL, [Figure(EVIL, EVIL)])], [Branch("dead", EVIL, EVIL, EVIL)], [Part("dead", EVIL, 1)]
        ),
    ]
    for view in views:
        assert "<img" not in view
        assert "&lt;img" in view


def test_commands_in_a_sentence_stand_out() -> None:
    assert "run <code>tidemill up</code> first" in banner(state("running"), "run `tidemill up` first")


def test_a_state_has_a_word_and_a_shape_beside_its_colour() -> None:
    shown = {name: state(name) for name in ("running", "paused", "stopped", "waiting")}
    assert len({s.word for s in shown.values()}) == len({s.mark for s in shown.values()}) == 4
    assert state("strange").word == "Strange"


def test_the_bar_of_an_account_fills_the_width_and_shows_what_is_tiny() -> None:
    found = widths([Part("silver", "", 1_000_000), Part("dead", "", 1), Part("duplicates", "", 0), Part("flight", "", None)])
    assert sum(found) == pytest.approx(100, abs=0.05)
    assert found[1] > 0.5
    assert found[2:] == [0, 0]
    assert widths([Part("silver", "", None)]) == [0]


def test_rows_of_a_group_stand_below_its_name_and_an_alarm_below_its_row() -> None:
    rows = [Row([Cell("a")], group="Silver"), Row([Cell("b")], "it broke", "Silver"), Row([Cell("c")], group="Gold")]
    view = grid([Column("Table")], rows)
    assert view.count('class="group"') == 2
    assert view.index(">b<") < view.index("it broke") < view.index("Gold") < view.index(">c<")
    assert grid([Column("Table")], [], "None yet.") == '<p class="empty">None yet.</p>'


def test_bars_begin_with_the_most_and_say_how_many_are_left_out() -> None:
    view = bars([Bar("few", 1), Bar("many", 1_000), Bar("some", 10)], "", most=2)
    assert view.index("many") < view.index("some")
    assert "few" not in view
    assert "and 1 more" in view
    assert "width: 100.0%" in view


def test_a_moment_is_left_to_the_browser_to_count_on() -> None:
    assert ago(datetime(2013, 1, 1, tzinfo=UTC)) == '<time data-at="1356998400" datetime="2013-01-01T00:00:00+00:00"></time>'
    assert ago(None) == "–"


def test_a_live_view_brings_its_styles_along() -> None:
    view = Live(html="<p>now</p>")
    assert view.html == "<p>now</p>"
    assert ".pill" in view.stylesheets[0]
    assert "http" not in "".join(view.stylesheets)


def test_a_timeline_draws_each_layer_and_keeps_still_when_nothing_changed() -> None:
    chart = Timeline("lag", "rows")
    sent: list[pd.DataFrame] = []
    chart._pipe.add_subscriber(lambda data: sent.append(data))
    data = pd.DataFrame(
        {
            "at": pd.to_datetime(["2013-01-01", "2013-01-02"] * 3),
            "layer": ["bronze"] * 2 + ["silver"] * 2 + ["gold"] * 2,
            "lag": 1,
        }
    )
    chart.show(data)
    chart.show(data.copy())
    assert len(sent) == 1
    lines = list(chart._plot(sent[0]))
    assert [line.label for line in lines] == ["bronze", "silver", "gold"]
    assert [len(line) for line in lines] == [2, 2, 2]
    root = chart.view.get_root()
    assert root is not None
