"""What an evaluation leaves for people: a table, JSON, CSV, plots, one HTML page."""

import base64
import csv
import html
import io
import json

import numpy as np
from PIL import Image

from dnnh import metrics, paths, plots, ranking

GALLERY_HITS = 12


def summary(result):
    """The table on the terminal."""
    rows = [("MAP", result["map"]),
            ("MAP, expected over ties", result["map_tie_aware"]),
            ("precision within radius 2", result["precision_radius2"])]
    rows += [(f"precision of the top {n}", result["precision_at"][n])
             for n in result["precision_at"] if n in (100, 500, 1000)]
    width = max(len(name) for name, _ in rows)
    lines = [describe(result)]
    if result["note"]:
        lines.append(f"  {result['note']}")
    lines += [f"  {name:<{width}}  {value:.4f}" for name, value in rows]
    lines.append(f"  ranked in {result['seconds']:.2f} s")
    lines += [f"  ({remark})" for remark in remarks(result)]
    return "\n".join(lines)


def remarks(result):
    """What the numbers are to be read with: a list of sentences."""
    found = [f"at random, precision would be {result['relevant_share']:.4f}, and MAP "
             f"{result['map_random']:.4f}"]
    if result["queries_without_radius2"]:
        found.append(f"{result['queries_without_radius2']:,} queries have nothing within "
                     "radius 2 and count 0 there")
    if result["queries_without_relevant"]:
        found.append(f"{result['queries_without_relevant']:,} queries have nothing "
                     "relevant in the database and count 0")
    return found


def describe(result):
    """One sentence: what was measured on what."""
    top = f" within the top {result['top']:,}" if result["top"] else ""
    return (f"{result['method']}, {result['bits']} bits, {result['dataset']}"
            f" ({result['source']}), protocol {result['protocol']}: "
            f"{result['queries']:,} queries, {result['database']:,} in the database{top}")


def write_json(path, result):
    """The result as JSON; numbers of ``precision_at`` become text keys there."""
    with paths.written_whole(path) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")


def write_csv(path, result):
    """The curves as CSV: figure, x, y; what was measured on what comes first."""
    rows = [(key, "", result[key]) for key in ("source", "protocol", "note")]
    rows += [("map", "", result["map"]),
             ("map_tie_aware", "", result["map_tie_aware"]),
             ("precision_radius2", result["bits"], result["precision_radius2"])]
    rows += [("precision_at", n, p) for n, p in result["precision_at"].items()]
    rows += [("precision_recall", r, p) for r, p in zip(
        result["pr_curve"]["recall"], result["pr_curve"]["precision"])]
    with paths.written_whole(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("figure", "x", "y"))
        writer.writerows(rows)


def draw(result, others=()):
    """The three plots of the paper's figures 5 to 8.

    Parameters
    ----------
    result : dict
    others : list of dict
        Results of the same method and data set at other lengths, for the plot
        against the number of bits.

    Returns
    -------
    dict of name to matplotlib figure.
    """
    name, source = result["method"], result["source"]
    lengths = {r["bits"]: r["precision_radius2"] for r in (*others, result)}
    bits = sorted(lengths)
    curve = result["pr_curve"]
    # Recall 0 is a radius within which nothing lies: no point of a curve.
    seen = [i for i, r in enumerate(curve["recall"]) if r > 0]
    return {
        "precision_radius2": plots.precision_radius2(
            [(name, bits, [lengths[b] for b in bits])], source),
        "precision_recall": plots.precision_recall(
            [(name, [curve["recall"][i] for i in seen],
              [curve["precision"][i] for i in seen])], source),
        "precision_at": plots.precision_at(
            [(name, list(result["precision_at"]),
              list(result["precision_at"].values()))], source),
    }


def gallery(codes, dataset, count=10):
    """Queries and their nearest images.

    Parameters
    ----------
    codes : dnnh.codes.Codes with ids
    dataset : dnnh.datasets.Dataset, to which the ids belong
    count : int
        How many queries; they are spread evenly over the labels' order.

    Returns
    -------
    list of (query id, [(database id, distance, relevant), ...])
    """
    labels = codes.query_labels
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)         # the first label of each
    by_label = np.argsort(labels, kind="stable")
    chosen = by_label[np.linspace(0, len(by_label) - 1, count + 2)[1:-1].astype(int)]
    is_relevant = metrics.relevance(codes.query_labels, codes.database_labels)
    rows = []
    for query in chosen:
        (_, block), = ranking.distances(
            codes.query_codes[query:query + 1], codes.database_codes)
        hits = [hit for hit in ranking.order(block[0])[:GALLERY_HITS + 1]
                if codes.database_ids[hit] != codes.query_ids[query]][:GALLERY_HITS]
        relevant = is_relevant(query, 1)[0]
        rows.append((codes.query_ids[query], [
            (codes.database_ids[hit], int(block[0, hit]), bool(relevant[hit]))
            for hit in hits]))
    return rows


# --- the page ---------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
  max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .25rem; } h2 { font-size: 1.15rem;
  margin-top: 2.5rem; }
p.about { color: #555; margin-top: 0; }
table.figures { border-collapse: collapse; }
table.figures td { padding: .3rem 1rem .3rem 0; border-bottom: 1px solid #ddd; }
table.figures td.value { text-align: right; font-variant-numeric: tabular-nums; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
.plots img { width: 20rem; max-width: 100%; }
.hits { overflow-x: auto; }
.hits table { border-spacing: 4px; }
.hits td, .hits th { padding: 0; text-align: center; font-size: .75rem;
  font-weight: normal; color: #555; }
.hits th { padding-right: .75rem; text-align: left; }
.hits img { width: 56px; height: 56px; image-rendering: pixelated; display: block;
  border: 3px solid transparent; border-radius: 4px; }
.right img { border-color: #0072b2; } .wrong img { border-color: #d55e00; }
.right span::before { content: "\\2713\\00a0"; color: #0072b2; font-weight: bold; }
.wrong span::before { content: "\\2717\\00a0"; color: #d55e00; font-weight: bold; }
footer { margin-top: 3rem; color: #555; font-size: .85rem; }
"""


def page(result, figures, rows=(), dataset=None):
    """One self-contained HTML page: numbers, plots, queries with their hits.

    Parameters
    ----------
    result : dict
    figures : dict of name to matplotlib figure
    rows : what :func:`gallery` returns
    dataset : dnnh.datasets.Dataset, for the images of ``rows``

    Returns
    -------
    str
    """
    text = html.escape
    title = f"{result['method']}, {result['bits']} bits, {result['dataset']}"
    numbers = [("MAP", result["map"]),
               ("MAP, expected over equal distances", result["map_tie_aware"]),
               ("precision within Hamming radius 2", result["precision_radius2"])]
    numbers += [(f"precision of the top {n}", p)
                for n, p in result["precision_at"].items()]
    parts = [f"<h1>{text(title)}</h1>", f'<p class="about">{text(describe(result))}</p>']
    if result["note"]:
        parts.append(f"<p><strong>{text(result['note'])}</strong></p>")
    parts.append('<table class="figures">')
    parts += [f'<tr><td>{text(name)}</td><td class="value">{value:.4f}</td></tr>'
              for name, value in numbers]
    parts.append("</table>")
    parts += [f'<p class="about">{text(remark[0].upper() + remark[1:])}.</p>' for remark in remarks(result)]
    parts += ["<h2>Plots</h2>", '<div class="plots">']
    parts += [picture(name, figure) for name, figure in figures.items()]
    parts.append("</div>")
    if rows:
        parts += ["<h2>Queries and their nearest images</h2>",
                  "<p>Under each image: whether it is relevant, and its Hamming "
                  "distance.</p>", '<div class="hits"><table>']
        for query, hits in rows:
            name = label_name(dataset, query)
            parts.append(f'<tr><th scope="row">{_image(dataset, query, name)}'
                         f"{text(name)}</th>")
            for hit, distance, relevant in hits:
                hit_name = label_name(dataset, hit)
                parts.append(f'<td class="{"right" if relevant else "wrong"}">'
                             f"{_image(dataset, hit, hit_name)}"
                             f"<span>{distance}</span></td>")
            parts.append("</tr>")
        parts.append("</table></div>")
    model = result.get("model")
    parts.append(
        f"<footer>{text('Model: ' + model if model else 'Codes by ' + result['method'])}"
        f". Ranked in {result['seconds']:.2f} s.</footer>")
    return document(title, parts)


def document(title, parts, style=""):
    """A whole HTML page of its parts; ``style`` comes behind the one that pages share."""
    return "\n".join([
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>", f"<style>{_STYLE}{style}</style>", "</head>",
        "<body>", *parts, "</body>", "</html>", ""])


def picture(name, figure):
    """A matplotlib figure as an HTML element that holds it; ``name`` in words."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return f'<img alt="{html.escape(name.replace("_", " "))}" src="{_uri(buffer)}">'


def label_name(dataset, index):
    """The name of an image's class, or of its classes."""
    label = dataset.labels[index]
    return ", ".join(dataset.classes[i] for i in (
        np.flatnonzero(label) if np.ndim(label) else [label]))


def _image(dataset, index, name):
    buffer = io.BytesIO()
    pixels = dataset.images[index]
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
        buffer, format="PNG")
    return (f'<img alt="{html.escape(name)}" title="{html.escape(name)}, image {index}" '
            f'src="{_uri(buffer)}">')


def _uri(buffer):
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def thumbnail(image, name, side=160):
    """An image, uint8 (height, width, 3), as an HTML element that holds a small copy."""
    image = Image.fromarray(image)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f'<img alt="{html.escape(name)}" src="{_uri(buffer)}">'
