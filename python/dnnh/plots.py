"""The plots of the paper's figures 5 to 8, and of the training log."""

import itertools
import textwrap

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

matplotlib.rcParams.update({
    "font.size": 10, "axes.grid": True, "grid.alpha": 0.3,
    "axes.spines.top": False, "axes.spines.right": False,
    "text.parse_math": False,   # a $ in a name is a $
    "pdf.fonttype": 42,       # letters, not outlines, in PDFs
})
# Colours and markers that stay apart for colour-blind readers and in grey.
STYLES = tuple(zip(
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    ("o", "s", "^", "D", "v", "P", "X")))
MANY = 8                       # lines, from which on the legend stands beside the plot


def _figure(xlabel, ylabel, title, source):
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(f"{title}\n{source}", fontsize=10)
    return figure, axes


def _lines(axes, series):
    """Draw (name, xs, ys) lines and, if there are several, a legend.

    The first seven are drawn in full, the next seven dashed.
    """
    styles = itertools.cycle(itertools.product(("-", "--"), STYLES))
    for (name, xs, ys), (line, (colour, marker)) in zip(series, styles):
        axes.plot(xs, ys, line, color=colour, marker=marker, markersize=4, label=name,
                  clip_on=False)
    axes.set_ylim(0, 1)
    if len(series) >= MANY:
        axes.figure.set_figwidth(6.2)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    elif len(series) > 1:
        axes.legend(frameon=False, fontsize=8)


def precision_radius2(series, source):
    """Precision within Hamming radius 2 against the number of bits.

    Parameters
    ----------
    series : list of (name, bits, precisions)
    source : str
        What the images were read from.
    """
    figure, axes = _figure("number of bits", "precision",
                           "Precision within Hamming radius 2", source)
    _lines(axes, series)
    axes.set_xticks(sorted({b for _, bits, _ in series for b in bits}))
    return figure


def precision_recall(series, source):
    """Precision-recall curves; ``series`` is a list of (name, recall, precision)."""
    figure, axes = _figure("recall", "precision", "Precision-recall, by radius", source)
    _lines(axes, series)
    axes.set_xlim(0, 1)
    return figure


def precision_at(series, source):
    """Precision against the number of returned images; (name, numbers, precision)."""
    figure, axes = _figure("number of top returned images", "precision",
                           "Precision of the top returned images", source)
    _lines(axes, series)
    axes.set_xlim(left=0)
    return figure


# Figures of the training log that lie between 0 and 1.
SHARES = ("active", "bit_mean_min", "bit_mean_max", "clipped", "epsilon")


def training(curves):
    """What a training log says, one small plot for each figure in it.

    Parameters
    ----------
    curves : dict of name to (iterations, values)
    """
    rows = -(-len(curves) // 2)
    figure = Figure(figsize=(9, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False, sharex=True).ravel()
    last = max(iterations[-1] for iterations, _ in curves.values())
    for axis, (name, (iterations, values)) in zip(axes, curves.items()):
        if name == "epsilon":       # known where it changes, constant in between
            axis.step([*iterations, last], [*values, values[-1]], where="post",
                      color=STYLES[0][0], linewidth=1)
        else:
            axis.plot(iterations, values, color=STYLES[0][0], linewidth=1)
        axis.set_title(name)
        if name.endswith(SHARES):     # "test active", "24bit_active"
            axis.set_ylim(-0.02, 1.02)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in axes[len(curves):]:
        axis.set_visible(False)
    for axis in axes[max(0, len(curves) - 2):len(curves)]:
        axis.set_xlabel("iteration")
        axis.tick_params(labelbottom=True)
    return figure


def comparison(tables):
    """Each table against the number of bits: the paper's dashed, ours in full.

    Methods that only the paper has figures of are grey, with their names at the right.
    One legend names the others, from the highest to the lowest.

    Parameters
    ----------
    tables : list of dnnh.comparison.Table
    """
    mine = sorted({method for table in tables for method in (*table.ours, "DNNH")},
                  key=lambda method: (-_height(method, tables), method))
    # From the eighth on the same colours with other markers, hollow: dashes are the paper's.
    styles = {method: (STYLES[i % 7][0], STYLES[(i + 3 * (i // 7)) % 7][1],
                       "none" if i >= 7 else "full") for i, method in enumerate(mine)}
    figure = Figure(figsize=(4.4 * len(tables) + 1.6, 4.6), layout="constrained")
    named = {}
    for axes, table in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables):
        for whose, rows, line in (("the paper", table.printed.rows, "--"),
                                  ("ours", table.ours, "-")):
            for method, row in rows.items():
                bits = sorted(row)
                values = [row[b] for b in bits]
                if method in styles:
                    colour, marker, fill = styles[method]
                    drawn, = axes.plot(bits, values, line, color=colour, marker=marker,
                                       fillstyle=fill, markersize=4,
                                       label=f"{method}, {whose}")
                    named[method] = drawn
                else:
                    axes.plot(bits, values, line, color="0.6", linewidth=1)
                    axes.annotate(method, (bits[-1], values[-1]), (4, -2), fontsize=6,
                                  textcoords="offset points", color="0.4")
        axes.set_title(textwrap.fill(table.title, 60), fontsize=8)
        axes.set(xlabel="number of bits", ylim=(0, 1), xticks=table.lengths)
    names = [method for method in mine if method in named]
    if names:
        figure.legend([named[method] for method in names], names, frameon=False,
                      fontsize=8, loc="outside right upper",
                      title="ours in full,\nthe paper's dashed", title_fontsize=8)
    return figure


def _height(method, tables):
    """The value of a method's longest code in the first table that has one, ours or else
    the paper's."""
    for table in tables:
        for rows in (table.ours, table.printed.rows):
            if row := rows.get(method):
                return row[max(row)]
    return 0
