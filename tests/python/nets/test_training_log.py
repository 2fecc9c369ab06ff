"""Figures out of a log as Caffe writes it."""

import pytest

from dnnh.errors import UserError
from dnnh.evaluation import plots
from dnnh.nets import training_log as traininglog

LOG = """\
I1121 04:10:00.1 1 piecewise_threshold_layer.cpp:65] PiecewiseThreshold layer 'codes': epsilon = 0.5 from iteration 0
I1121 04:10:01.1 1 solver.cpp:239] Iteration 0 (-1.38e-43 iter/s, 1.94s/20 iters), loss = 1.1
I1121 04:10:01.1 1 solver.cpp:258]     Train net output #0: active = 0.8
I1121 04:10:01.1 1 solver.cpp:258]     Train net output #4: loss = 1.1 (* 1 = 1.1 loss)
I1121 04:10:02.1 1 solver.cpp:347] Iteration 20, Testing net (#0)
I1121 04:10:02.1 1 solver.cpp:414]     Test net output #1: loss = 0.9 (* 1 = 0.9 loss)
I1121 04:10:03.1 1 solver.cpp:239] Iteration 20 (0.5 iter/s, 33.9s/20 iters), loss = 0.7
I1121 04:10:03.1 1 solver.cpp:258]     Train net output #0: active = 0.6
I1121 04:10:03.1 1 solver.cpp:258]     Train net output #4: loss = 0.7 (* 1 = 0.7 loss)
"""
RESUMED = """\
I1121 05:10:00.1 1 piecewise_threshold_layer.cpp:65] PiecewiseThreshold layer 'codes': epsilon = 0.4 from iteration 20
I1121 05:10:03.1 1 solver.cpp:239] Iteration 20 (0.5 iter/s, 33.9s/20 iters), loss = 0.65
I1121 05:10:03.1 1 solver.cpp:258]     Train net output #0: active = 0.5
"""


def test_read(tmp_path):
    path = tmp_path / "training.log"
    path.write_text(LOG)
    assert traininglog.read(path) == {
        "epsilon": ([0], [0.5]),
        "active": ([0, 20], [0.8, 0.6]),
        "loss": ([0, 20], [1.1, 0.7]),
        "test loss": ([20], [0.9]),
    }


def test_a_resumed_log_counts_the_later_figure(tmp_path):
    path = tmp_path / "training.log"
    path.write_text(LOG + RESUMED)
    curves = traininglog.read(path)
    assert curves["active"] == ([0, 20], [0.8, 0.5])
    assert curves["epsilon"] == ([0, 20], [0.5, 0.4])


def test_a_plot_for_each_figure(tmp_path):
    (tmp_path / "training.log").write_text(LOG)
    figure = plots.training(traininglog.read(tmp_path / "training.log"))
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == ["epsilon", "active", "loss", "test loss"]
    lines = [axes.get_lines()[0].get_ydata().tolist() for axes in figure.axes]
    assert lines == [[0.5, 0.5], [0.8, 0.6], [1.1, 0.7], [0.9]]


def test_no_log(tmp_path):
    (tmp_path / "x").write_text("hello")
    for name in ("x", "none"):
        with pytest.raises(UserError, match="no figures of a training|cannot be read"):
            traininglog.read(tmp_path / name)
