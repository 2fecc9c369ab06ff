"""Find the images of an index that are most similar to one, or to each of another index.

  python tools/search.py --index photos.index.h5 --image query.jpg -k 10
  python tools/search.py --index photos.index.h5 --image query.jpg --json -
  python tools/search.py --index photos.index.h5 --image query.jpg --html hits.html
  python tools/search.py --index photos.index.h5 --queries others.index.h5 --json hits.json
  python tools/search.py --index photos.index --queries others.index.h5 --engine spark
  python tools/search.py --index photos.index.h5 --image query.jpg --engine milvus \\
      --address http://localhost:19530

--index and --queries are what tools/encode.py wrote. The search is by Hamming distance, exact
but for the engine ivf. The 1,000 nearest of an image (or more, by -k) are then ordered by asymmetric
distance: each bit that differs is weighted by |2 s - 1|, with s the image's relaxed code. With --rank
hamming, with --queries and on Spark, equal distances are in the order of the index (but where more than
16,384 are as near as the last hit, Milvus chooses among them).
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, cli, errors, files, limits
from dnnh.data import image_files, sources
from dnnh.errors import UserError
from dnnh.nets import configs
from dnnh.retrieval import feature_hash, index_files, result_pages, retriever
from dnnh.retrieval.image_index import ImageIndex
from dnnh.retrieval.retriever import Hit, QueryEncoder


def main() -> None:
    arguments = parse_arguments()
    image = read_image(arguments.image) if arguments.image else None
    with retriever.open_index(
        arguments.index, arguments.engine, arguments.address, arguments.master
    ) as opened:
        weights = None
        if image is not None:
            names = [str(arguments.image)]
            encoder = QueryEncoder(opened.index, arguments.model, arguments.runtime, arguments.gpu)
            codes, weights = encoder.encode(image)
        else:
            names, codes = read_queries(arguments.queries, opened.index)
        asymmetric = rank(arguments, opened.index) == "asymmetric"
        hits = opened.nearest(codes, arguments.top, weights if asymmetric else None)
    write_results(arguments, list(zip(names, hits)), opened.index.net.bits)
    if arguments.html and image is not None:
        page = result_pages.hits_page(
            opened, sources.as_text(arguments.image.name), image, hits[0], asymmetric
        )
        atomic_files.write_text(arguments.html, page)
        print(arguments.html, file=sys.stderr)


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    cli.add_index_options(parser, retriever.ENGINES)
    cli.add_gpu_option(parser)
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--image", type=cli.path, help="the query, an image file")
    query.add_argument("--queries", type=cli.path, help="many queries: an index of the same net")
    parser.add_argument("-k", "--top", type=int, default=10, help="number of hits (default: 10)")
    parser.add_argument(
        "--rank",
        choices=("asymmetric", "hamming"),
        help="how the nearest are ordered, see above (default: asymmetric; of --queries, hamming)",
    )
    parser.add_argument("--json", type=cli.path, help="write the hits here; - prints them")
    parser.add_argument("--html", type=cli.path, help="write a page with the hits of an image here")
    arguments = parser.parse_args()
    if arguments.queries:
        options = ("model", "runtime", "gpu")
        cli.refuse(arguments, options, "is for encoding an image; --queries has codes already")
    if arguments.rank == "asymmetric" and not arguments.image:
        raise UserError("--rank asymmetric is for an image; --queries has binary codes alone")
    if arguments.html and not arguments.image:
        raise UserError("--html is for the hits of one image; give --image")
    atomic_files.refuse_overwriting(
        [arguments.json, arguments.html],
        [arguments.index, arguments.queries, arguments.image, arguments.model],
    )
    return arguments


def rank(arguments: argparse.Namespace, index: ImageIndex) -> str:
    """How the nearest are ordered."""
    if arguments.rank == "asymmetric" and index.codes is None:
        raise UserError("--rank asymmetric needs the codes here; those of the engine spark are not")
    default = "hamming" if arguments.queries or index.codes is None else "asymmetric"
    return arguments.rank or default


def read_image(path: pathlib.Path) -> NDArray[np.uint8]:
    return image_files.decode_image(files.read_regular_file(path, limits.IMAGE_BYTES), path)


def read_queries(path: pathlib.Path, index: ImageIndex) -> tuple[list[str], NDArray[np.uint8]]:
    """Names and codes of an index that has the queries, if both are of one net."""
    queries = index_files.load(path)
    ours, theirs = index.net, queries.net
    if configs.has_two_towers(ours):
        raise UserError(
            f"{path} has codes of the database's sub-network; '{ours.method}' has another one for "
            "queries. Name one image with --image"
        )
    if (theirs.bits, theirs.weights) != (ours.bits, ours.weights):
        raise UserError(
            f"{path} has {theirs.bits} bits of the weights {theirs.weights[:12]}, the index "
            f"{ours.bits} bits of {ours.weights[:12]}; encode both with the same net"
        )
    if not feature_hash.are_the_same(queries.hasher, index.hasher):
        raise UserError(
            f"{path} and the index were hashed by methods that were fitted to each alone, whose "
            "codes cannot be compared; encode the queries with --hash-of and the index"
        )
    assert queries.codes is not None
    present, names = queries.present(), queries.names(slice(None))
    if present is None:
        return names, queries.codes
    return [names[row] for row in present.tolist()], queries.codes[present]


def write_results(
    arguments: argparse.Namespace, results: list[tuple[str, list[Hit]]], bits: int
) -> None:
    """Print the hits, and write them as JSON if that is wanted."""
    content: list[dict[str, Any]] = [
        {"image": query, "bits": bits, "hits": [dataclasses.asdict(hit) for hit in hits]}
        for query, hits in results
    ]
    text = json.dumps(content[0] if arguments.image else content, indent=1) + "\n"
    if arguments.json == pathlib.Path("-"):
        sys.stdout.write(text)
        return
    for query, hits in results:
        if not arguments.image:
            print(errors.printable(query))
        for hit in hits:
            print(errors.printable(f"{hit.distance:>3}  {hit.name}  {', '.join(hit.labels)}"))
    if arguments.json:
        atomic_files.write_text(arguments.json, text)


if __name__ == "__main__":
    errors.run(main)
