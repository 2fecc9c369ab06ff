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


def panels(figure):
    """The plots of a figure: title to the curves' values, and to the texts."""
    visible = [axes for axes in figure.axes if axes.get_visible()]
    curves = {
        axes.get_title(loc="left"): [line.get_ydata().tolist() for line in axes.lines]
        for axes in visible
    }
    texts = {
        axes.get_title(loc="left"): [text.get_text() for text in axes.texts] for axes in visible
    }
    return curves, texts


def test_a_plot_for_each_quantity(tmp_path):
    (tmp_path / "training.log").write_text(LOG)
    figure = plots.training(traininglog.read(tmp_path / "training.log"))
    curves, texts = panels(figure)
    assert list(curves.items()) == [
        ("Loss", [[1.1, 0.7], [0.9]]),  # training, test
        ("Active triplets", [[0.8, 0.6]]),
        ("Threshold epsilon", [[0.5, 0.5]]),
    ]
    assert all(len(text) == 1 and text[0] for text in texts.values())  # what it means
    (epsilon,) = figure.axes[2].lines
    assert epsilon.get_drawstyle() == "steps-post" and epsilon.get_xdata().tolist() == [0, 20]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["training", "test"]


def test_epsilon_decays_in_steps():
    figure = plots.training(
        {"epsilon": ([0, 10, 20], [0.5, 0.4, 0.3]), "24bit_active": ([0, 30], [1, 0.5])}
    )
    curves, _ = panels(figure)
    assert curves["Threshold epsilon"] == [[0.5, 0.4, 0.3, 0.3]]
    assert curves["Active triplets, 24 bits"] == [[1, 0.5]]


def test_the_highest_and_the_lowest_bit_share_a_plot():
    curves, _ = panels(
        plots.training({"bit_mean_min": ([0, 9], [0, 0.2]), "bit_mean_max": ([0, 9], [1, 0.7])})
    )
    assert curves == {"Bit means": [[0, 0.2], [1, 0.7]]}


def test_a_single_value_is_written_out_and_not_plotted():
    curves, texts = panels(plots.training({"loss": ([7], [0.25])}))
    assert curves == {"Loss": []}
    assert texts["Loss"][-1] == "training: 0.25\nat iteration 7, the only one in the log"


@pytest.mark.parametrize(
    "losses", ([1, float("nan"), float("inf")], [float("nan")] * 3, [0] * 3, [1.7e308] * 3)
)
def test_a_training_that_diverged_is_plotted(losses, tmp_path):
    figure = plots.training({"loss": ([0, 1, 2], losses)})
    figure.savefig(tmp_path / "x.png")
    (axes,) = [axes for axes in figure.axes if axes.get_visible()]
    bad = [i for i, loss in enumerate(losses) if not abs(loss) < 1e300]
    said = [f"training: not finite from iteration {bad[0]} on"] if bad else []
    assert [text.get_text() for text in axes.texts][1:] == said
    (line,) = axes.lines
    assert line.get_marker() == ("o" if len(bad) > 1 else "")


def test_no_log(tmp_path):
    (tmp_path / "x").write_text("hello")
    for name in ("x", "none"):
        with pytest.raises(UserError, match="no figures of a training|cannot be read"):
            traininglog.read(tmp_path / name)


def test_numbers_of_thousands_of_digits(tmp_path):
    """Python refuses to read them as numbers."""
    long = "9" * 5000
    (tmp_path / "log").write_text(
        f"Iteration {long} (1 iter/s), loss = 1\n"
        f"Iteration 3 (1 iter/s), loss = 1\n"
        f"Train net output #0: loss = {long}\n"
        f"Train net output #0: loss = 0.5\n"
        f"epsilon = 0.1 from iteration {long}\n"
    )
    assert traininglog.read(tmp_path / "log")["loss"] == ([3], [0.5])


def test_more_outputs_than_a_net_has(tmp_path):
    lines = [f"Train net output #0: x{i} = 1\n" for i in range(1001)]
    (tmp_path / "log").write_text("Iteration 3 (1 iter/s), loss = 1\n" + "".join(lines))
    with pytest.raises(UserError, match="log has more than 1,000 outputs; no net has so many"):
        traininglog.read(tmp_path / "log")
