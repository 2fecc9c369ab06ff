"""Find the images of a collection that are most like one.

  python tools/search.py --codes photos.codes.h5 --image query.jpg --top 10
  python tools/search.py --codes photos.codes.h5 --image query.jpg --json -
  python tools/search.py --codes photos.codes.h5 --image query.jpg --html hits.html

--codes is what tools/encode.py wrote. By Hamming distance, exactly; equal distances in the
order of the collection.
"""

import argparse
import dataclasses
import html
import json
import pathlib
import sys

from dnnh import errors, finder, paths, report, search
from dnnh.datasets import trees
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=pathlib.Path, required=True)
    parser.add_argument("--image", type=pathlib.Path, required=True)
    parser.add_argument("--top", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--model", type=pathlib.Path,
                        help="the weights that the collection was coded with, if they are "
                        "no longer the newest")
    parser.add_argument("--engine", default="numpy", choices=search.ENGINES)
    parser.add_argument("--json", type=pathlib.Path, help="write the hits here; - prints them")
    parser.add_argument("--html", type=pathlib.Path, help="write a page with the hits here")
    arguments = parser.parse_args()

    data = trees.read_file(arguments.image)
    found = finder.Finder(arguments.codes, arguments.model, arguments.engine)
    hits = found.nearest(found.code(data, arguments.image), arguments.top)
    text = json.dumps({"image": str(arguments.image), "bits": found.collection.bits,
                       "hits": [dataclasses.asdict(hit) for hit in hits]}, indent=1)
    if arguments.json == pathlib.Path("-"):
        sys.stdout.write(text + "\n")
    else:
        for hit in hits:
            print(f"{hit.distance:>3}  {hit.name}  {', '.join(hit.labels)}")
    if arguments.json and arguments.json != pathlib.Path("-"):
        with paths.written_whole(arguments.json) as partial:
            partial.write_text(text + "\n")
    if arguments.html:
        with paths.written_whole(arguments.html) as partial:
            partial.write_text(page(found, arguments.image, data, hits))


def page(found, image, data, hits):
    """One self-contained HTML page: the query, and its hits."""
    parts = [f"<h1>{html.escape(image.name)}, and what is most like it</h1>",
             f'<p class="about">{len(found.index):,} images of '
             f"{html.escape(found.collection.source)}, {found.collection.bits} bits</p>",
             f"<p>{report.thumbnail(data, image.name)}</p>",
             "<p>Under each image: its Hamming distance, name and labels.</p>",
             '<div class="found">']
    for hit in hits:
        try:
            shown = report.thumbnail(found.image(hit.name), hit.name)
        except UserError as error:
            shown = f"<span>{html.escape(str(error))}</span>"
        about = ", ".join(filter(None, (hit.name, *hit.labels)))
        parts.append(f"<figure>{shown}<figcaption>{hit.distance}: {html.escape(about)}"
                     "</figcaption></figure>")
    return report.document(f"{image.name}: hits", [*parts, "</div>"], STYLE)


STYLE = """
.found { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
  gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .8rem; color: #555; overflow-wrap: anywhere; }
.found img, p img { max-width: 9rem; max-height: 9rem; min-width: 4rem; border-radius: 4px; }
"""


if __name__ == "__main__":
    errors.run(main)
