"""Find images of an index that are nearly the same: copies, resized, compressed again.

  python tools/duplicates.py --index photos.index.h5
  python tools/duplicates.py --index photos.index.h5 --radius 0 --json duplicates.json
  python tools/duplicates.py --index photos.index.h5 --html duplicates.html

A group has images of which each is within the Hamming radius of another one of the group. Use an
index of 64 bits or more that tells images apart: `tools/encode.py --net efficientnet_lite0 --bits 64`.
Codes of a net that was trained on classes are the same for many images of a class. Distances are
to the first image of the group.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

from dnnh import atomic_files, cli, errors, limits
from dnnh.errors import UserError
from dnnh.retrieval import duplicates, result_pages, retriever
from dnnh.retrieval.retriever import Hit, Retriever

RADIUS = 2
MOST_IN_A_GROUP = 0.1  # of the images; more are hardly copies


def main() -> None:
    arguments = parse_arguments()
    with retriever.open_index(arguments.index) as opened:
        codes, bits = opened.index.codes, opened.index.net.bits
        assert codes is not None
        present = opened.index.present()
        searched = codes if present is None else codes[present]
        rows = [opened.rows(ids) for ids in duplicates.groups(searched, bits, arguments.radius)]
        groups = [opened.hits(group, codes[group[0]]) for group in rows[: arguments.groups]]
        write(arguments, opened, groups, len(rows))
        images = sum(map(len, rows))
        report(arguments, len(opened.engine), images, len(rows))
        if rows and (
            opened.index.hasher is None or len(rows[0]) > MOST_IN_A_GROUP * len(opened.engine)
        ):
            print(
                f"{len(rows[0]):,} of {len(opened.engine):,} images are in the largest group. If "
                "they are not copies, these codes do not tell images apart: take a smaller "
                "--radius, or an index of a network's features with more bits",
                file=sys.stderr,
            )


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--index", type=cli.path, required=True, help="an index of encoded images")
    parser.add_argument(
        "--radius",
        type=int,
        default=RADIUS,
        help=f"Hamming distance of images that belong together (default: {RADIUS})",
    )
    parser.add_argument(
        "--groups",
        type=int,
        default=limits.GROUPS,
        help=f"how many groups are shown, the largest first (default: {limits.GROUPS})",
    )
    parser.add_argument("--json", type=cli.path, help="write the groups here; - prints them")
    parser.add_argument("--html", type=cli.path, help="write a page with the images here")
    arguments = parser.parse_args()
    if arguments.groups < 1:
        raise UserError(f"--groups {arguments.groups}: show 1 or more")
    atomic_files.refuse_overwriting([arguments.json, arguments.html], [arguments.index])
    return arguments


def write(
    arguments: argparse.Namespace, opened: Retriever, groups: list[list[Hit]], found: int
) -> None:
    """Print the groups, and write them as JSON and as a page where that is wanted."""
    content = {
        "bits": opened.index.net.bits,
        "radius": arguments.radius,
        "found": found,
        "groups": [[dataclasses.asdict(hit) for hit in group] for group in groups],
    }
    text = json.dumps(content, indent=1) + "\n"
    if arguments.json == pathlib.Path("-"):
        sys.stdout.write(text)
    else:
        for group in groups:
            print(f"{len(group)} images")
            for hit in group:
                print(errors.printable(f"{hit.distance:>3}  {hit.name}"))
        if arguments.json:
            atomic_files.write_text(arguments.json, text)
    if arguments.html:
        page = result_pages.groups_page(opened, groups, found, arguments.radius)
        atomic_files.write_text(arguments.html, page)


def report(arguments: argparse.Namespace, count: int, images: int, found: int) -> None:
    """Say how much was found; not among JSON that is printed."""
    output = sys.stderr if arguments.json == pathlib.Path("-") else sys.stdout
    if not found:
        print(
            f"no two of {count:,} images are within Hamming radius {arguments.radius}", file=output
        )
        return
    shown = f"{arguments.groups:,} of " if arguments.groups < found else ""
    print(f"{shown}{found:,} groups with {images:,} of {count:,} images", file=output)


if __name__ == "__main__":
    errors.run(main)
