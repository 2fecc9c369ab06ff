"""Code images with a trained net, rank the database for every query, measure.

  python tools/evaluate.py --bits 48                 CIFAR-10, newest snapshot
  python tools/evaluate.py --dataset digits --model snapshots/digits_iter_500.caffemodel
  python tools/evaluate.py --split validation        for choosing things: the held-out
                                                     training images among themselves
  python tools/evaluate.py --codes codes.h5 --json result.json      any codes file

Prints a table and writes, under results/, the codes file, JSON, CSV, the plots of
the paper's figures 5 to 8 as PNG and PDF, and one self-contained HTML page.
"""

import argparse
import dataclasses
import pathlib

from dnnh import (codes, datasets, encoder, errors, evaluation, models, nets, paths, report,
                  splits)
from dnnh.errors import UserError, printable


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=pathlib.Path,
                        help="evaluate this codes file instead of coding images")
    parser.add_argument("--bits", type=int, default=nets.DEFAULT_BITS,
                        help="length of the codes (default 48)")
    parser.add_argument("--dataset", default="cifar10", help="(default: cifar10)")
    parser.add_argument("--variant", default="",
                        help="of the net: README.md lists them (default: the "
                        "paper's own net)")
    parser.add_argument("--model", type=pathlib.Path,
                        help=models.CHOICE)
    parser.add_argument("--split", default="test", choices=["test", "validation"],
                        help="test: the queries in the database (default); validation: a "
                        "fifth of the training images among themselves")
    parser.add_argument("--protocol", default="paper", choices=splits.PROTOCOLS,
                        help="which images ask and which are searched: README.md, Measuring "
                        "(default: paper)")
    parser.add_argument("--split-seed", type=int, default=0,
                        help="which queries and training images (default 0)")
    parser.add_argument("--top", type=int, help="MAP within the first so many (default: "
                        "5000 with NUS-WIDE, else all)")
    parser.add_argument("--json", type=pathlib.Path, help="write the JSON here too")
    parser.add_argument("--output", type=pathlib.Path,
                        help="folder for the results (default: under results/)")
    parser.add_argument("--note", default="", help="a sentence for the page's top")
    arguments = parser.parse_args()
    if not codes.is_text(arguments.note):
        raise UserError(f"--note is one line of at most {codes.LONGEST} letters; this one has "
                        f"{len(arguments.note)}")
    if arguments.codes:
        for name in ("bits", "dataset", "variant", "model", "split", "protocol",
                     "split_seed"):
            if getattr(arguments, name) != parser.get_default(name):
                raise UserError(f"--{name.replace('_', '-')} is about coding images; the "
                                "codes of --codes say themselves what they are")
    return arguments


def main():
    arguments = parse_arguments()
    paths.check_apart([arguments.json], [arguments.codes, arguments.model])
    if arguments.codes:
        coded, dataset = codes.load(arguments.codes), None
        about = {"source": coded.source or printable(
                     f"codes file {arguments.codes.name}")[:codes.LONGEST],
                 "protocol": coded.protocol or "of the file", "note": arguments.note}
    else:
        coded, about, dataset = encode(arguments)
    result = evaluation.measure(coded, about, arguments.top)
    print(report.summary(result))
    folder = arguments.output or evaluation.folder_of(result)
    replaced = what_is_there(folder, result)
    if replaced:
        print(f"in place of the result of {replaced}; --output keeps both")
    page = evaluation.write(coded, result, dataset, folder, arguments.json,
                            with_codes=not arguments.codes)
    print(f"codes, tables, plots and report: {page}")


def what_is_there(folder, result):
    """The model, or else the source, of another result in the folder; "" if there is none."""
    try:
        before = evaluation.read_result(folder / "result.json")
    except UserError:
        return ""
    of = "model" if "model" in before else "source"
    same = before.get("model_sha256") == result.get("model_sha256") and before[of] == result.get(of)
    return "" if same else printable(str(before[of]))


def encode(arguments):
    """Code the queries and the database: (Codes, what is known of them, Dataset)."""
    validation = arguments.split == "validation"
    spec = nets.net_spec(arguments.dataset, arguments.variant, arguments.bits)
    if arguments.model is None and not splits.is_the_nets(
            arguments.protocol, arguments.split_seed):
        raise UserError("snapshots and released models are trained for split seed 0 of "
                        "the protocols 'paper' and '54k'; other queries may have been "
                        "trained on. Name a model trained for them with --model")
    trained = dataclasses.replace(spec, validation=validation)
    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset, arguments.protocol, arguments.split_seed)
    weights, chosen = models.find_model(trained, arguments.model)
    print(f"model: {chosen}")
    if validation:
        queries = database = split.validation_queries
    else:
        queries, database = split.queries, split.database
    # One net for both, or two of which the first codes queries (section 4.4).
    coders = [encoder.Encoder(nets.deploy(spec, subnetwork), weights)
              for subnetwork in spec.recipe.subnetworks]
    query_codes = coders[0].encode(dataset.images, "coding queries", queries)
    database_codes = (query_codes if validation and len(coders) == 1 else
                      coders[-1].encode(dataset.images, "coding database", database))
    coded = codes.Codes(
        query_codes, database_codes, dataset.labels[queries], dataset.labels[database],
        bits=spec.bits, dataset=dataset.name,
        method=spec.recipe.method,
        seed=split.seed, query_ids=queries, database_ids=database,
        source=dataset.source,
        protocol="validation" if validation else split.protocol)
    about = {
        "source": coded.source, "protocol": coded.protocol, "note": arguments.note,
        "model": str(weights.name),
        "model_sha256": paths.digest(weights)}
    return coded, about, dataset


if __name__ == "__main__":
    errors.run(main)
