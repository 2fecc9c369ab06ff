"""Find the images of a collection that are most like one, or like each of another collection.

  python tools/search.py --codes photos.codes.h5 --image query.jpg --top 10
  python tools/search.py --codes photos.codes.h5 --image query.jpg --json -
  python tools/search.py --codes photos.codes.h5 --image query.jpg --html hits.html
  python tools/search.py --codes photos.codes.h5 --queries others.codes.h5 --json hits.json
  python tools/search.py --codes photos.codes --queries others.codes.h5 --engine spark
  python tools/search.py --codes photos.codes.h5 --image query.jpg --engine milvus \\
      --address http://localhost:19530

--codes and --queries are what tools/encode.py wrote. By Hamming distance, exactly but for
the engine ivf; equal distances in the order of the collection (but where more than 16,384 are
as near as the last hit, Milvus chooses among them).
"""

import argparse
import dataclasses
import html
import json
import pathlib
import sys

from dnnh import collection, errors, finder, paths, report, spark
from dnnh.datasets import trees
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=pathlib.Path, required=True,
                        help="the collection that is searched")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--image", type=pathlib.Path, help="a file to ask with")
    asked.add_argument("--queries", type=pathlib.Path, help="a collection of the same net")
    parser.add_argument("--top", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--model", type=pathlib.Path,
                        help="the weights that the collection was coded with, if they are "
                        "neither in snapshots/ nor in models/")
    parser.add_argument("--engine", default="numpy", choices=finder.ENGINES,
                        help="what searches (default: numpy, which is exact and needs nothing "
                        "more)")
    parser.add_argument("--address", help="of Milvus: http://host:19530, or a file, codes.db")
    parser.add_argument("--master", help=f"of Spark (default: {spark.MASTER}; "
                        "spark://host:port is a cluster)")
    parser.add_argument("--json", type=pathlib.Path, help="write the hits here; - prints them")
    parser.add_argument("--html", type=pathlib.Path,
                        help="write a page with the hits of an image here")
    arguments = parser.parse_args()

    if arguments.html and not arguments.image:
        raise UserError("--html is for the hits of one image; give --image")
    paths.check_apart([arguments.json, arguments.html], [
        arguments.codes, arguments.queries, arguments.image, arguments.model])
    image = (trees.decode_image(trees.read_file(arguments.image), arguments.image)
             if arguments.image else None)
    with finder.opened(arguments.codes, arguments.engine, arguments.address,
                       arguments.master) as opened:
        found = finder.Finder(*opened)
        if arguments.image:
            names = [str(arguments.image)]
            codes = finder.Coder(found.collection, arguments.model).code(image)
        else:
            names, codes = queries(arguments.queries, found.collection)
        hits = found.nearest(codes, arguments.top)
    answers = [{"image": name, "bits": found.collection.bits,
                "hits": [dataclasses.asdict(hit) for hit in some]}
               for name, some in zip(names, hits)]
    text = json.dumps(answers[0] if arguments.image else answers, indent=1) + "\n"
    if arguments.json == pathlib.Path("-"):
        sys.stdout.write(text)
    else:
        for name, some in zip(names, hits):
            if not arguments.image:
                print(errors.printable(name))
            for hit in some:
                print(errors.printable(
                    f"{hit.distance:>3}  {hit.name}  {', '.join(hit.labels)}"))
    if arguments.json and arguments.json != pathlib.Path("-"):
        with paths.written_whole(arguments.json) as partial:
            partial.write_text(text)
    if arguments.html:
        with paths.written_whole(arguments.html) as partial:
            partial.write_text(page(found, arguments.image, image, hits[0]))


def queries(path, found):
    """Names and codes of a collection that asks another, if both are of one net."""
    asking = collection.load(path)
    if (asking.bits, asking.weights) != (found.bits, found.weights):
        raise UserError(f"{path} has {asking.bits} bits of the weights {asking.weights[:12]}, "
                        f"the collection {found.bits} bits of {found.weights[:12]}; code both "
                        "with the same net")
    return asking.names(slice(None)), asking.codes


def page(found, path, image, hits):
    """One self-contained HTML page: the query, and its hits."""
    parts = [f"<h1>{html.escape(path.name)}, and what is most like it</h1>",
             f'<p class="about">{len(found.index):,} images of '
             f"{html.escape(found.collection.source)}, {found.collection.bits} bits</p>",
             f"<p>{report.thumbnail(image, path.name)}</p>",
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
    return report.document(f"{path.name}: hits", [*parts, "</div>"], STYLE)


STYLE = """
.found { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
  gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .8rem; color: #555; overflow-wrap: anywhere; }
.found img, p img { max-width: 9rem; max-height: 9rem; min-width: 4rem; border-radius: 4px; }
"""


if __name__ == "__main__":
    errors.run(main)
