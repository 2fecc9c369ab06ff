"""How fast images are written to databases, and how fast they come from there:
TripletData beside Caffe's Data and ImageData layers.

  python benchmarks/data_layers.py
  python benchmarks/data_layers.py --rounds 3 --seconds 1

Each layer fills batches of 63 images, mirrored and cropped at random, from the same
images: CIFAR-10's at 32x32 (crop 28), and 500 of them enlarged to 256x256 (crop 224).
Rounds go through all layers in turn, so that whatever else the machine does falls on
all alike; the median of the rounds counts. The last table says what TripletData costs
in a training step of the net `dnnh`, whose layers run as `caffe train` runs them.
"""

import pathlib
import resource
import statistics
import tempfile
import time

import numpy as np
from PIL import Image
from tqdm import tqdm

from dnnh import cli, errors
from dnnh.data import datasets, image_database, splits, triplets
from dnnh.nets import prototxt, pycaffe, specs

import harness

BATCH = 63  # 21 triplets
COUNTS = {32: 5000, 256: 500}  # images, by their side
CROPS = {32: 28, 256: 224}


def main():
    parser = cli.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="a layer, a round")
    arguments = parser.parse_args()
    pycaffe.load().set_mode_cpu()
    dataset = datasets.load("cifar10")
    training = splits.load_split(dataset).training
    measured = {"images_per_second": {}}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        measured["written_per_second"] = writing(folder, dataset, training)
        for side in COUNTS:
            sources = write_sources(folder, dataset, training, side)
            measured["images_per_second"][side] = race(
                make_layers(folder, sources, side), arguments
            )
        measured["step"] = step(folder, arguments)
    texts = [
        "Written to LMDB, 32x32\n\n"
        + harness.table(
            ["what", "a second"],
            [[what, f"{rate:,.0f}"] for what, rate in measured["written_per_second"].items()],
        )
    ]
    texts += [
        f"Read from there, {side}x{side}, images a second\n\n"
        + harness.table(
            ["layer", "median", "lowest", "highest"],
            [
                [name]
                + [f"{value:,.0f}" for value in (statistics.median(rate), min(rate), max(rate))]
                for name, rate in rates.items()
            ],
        )
        for side, rates in measured["images_per_second"].items()
    ]
    texts.append(
        f"A training step of `dnnh`, {specs.net_spec().config.batch.images} images\n\n"
        + harness.table(
            ["what", ""], [[what, f"{value:.5f}"] for what, value in measured["step"].items()]
        )
    )
    harness.publish("data_layers", "\n\n".join(texts), measured)


def writing(folder, dataset, training):
    """Records a second, by layout and encoding."""
    images, labels = dataset.images[training], dataset.labels[training]
    drawn = triplets.draw_triplets(labels, 20000)
    writers = {
        **{
            f"images, {encoding}": (
                len(images),
                lambda path, encoding=encoding: image_database.write_images(
                    path, images, labels, {}, encoding
                ),
            )
            for encoding in image_database.ENCODINGS
        },
        "triplets, raw": (
            len(drawn),
            lambda path: image_database.write_materialized_triplets(path, images, drawn, {}),
        ),
    }
    rates = {}
    for i, (what, (count, write)) in enumerate(writers.items()):
        start = time.perf_counter()
        write(folder / f"written_{i}")
        rates[what] = count / (time.perf_counter() - start)
    return rates


def write_sources(folder, dataset, training, side):
    """The same images as databases and files; returns their paths by encoding."""
    chosen = training[:: len(training) // COUNTS[side]]
    images, labels = dataset.images[chosen], dataset.labels[chosen]
    if side != images.shape[1]:
        images = np.stack(
            [np.array(Image.fromarray(image).resize((side, side))) for image in images]
        )
    sources = {}
    for encoding in ("raw", "jpeg"):
        sources[encoding] = folder / f"{side}_{encoding}"
        image_database.write_images(sources[encoding], images, labels, {}, encoding)
    sources["files"] = folder / f"{side}.txt"
    lines = []
    for i, (image, label) in enumerate(zip(images, labels)):
        path = folder / f"{side}_{i}.jpg"
        Image.fromarray(image).save(path, **(image_database.ENCODINGS["jpeg"] or {}))
        lines.append(f"{path} {label}\n")
    sources["files"].write_text("".join(lines), encoding="utf-8")
    return sources


def make_layers(folder, sources, side):
    """A net of one data layer each, by name."""
    transform = f"transform_param {{ mirror: true crop_size: {CROPS[side]} }}"
    specs = {}
    for encoding in ("raw", "jpeg"):
        specs[f"Data, {encoding} LMDB"] = (
            f'type: "Data" data_param {{ source: "{sources[encoding]}" '
            f"backend: LMDB batch_size: {BATCH} }}"
        )
        for threads in (1, 2):
            specs[f"TripletData, {encoding} LMDB, threads: {threads}"] = (
                'type: "TripletData" param { lr_mult: 0 decay_mult: 0 } '
                f'triplet_data_param {{ source: "{sources[encoding]}" '
                f"batch_size: {BATCH // 3} threads: {threads} }}"
            )
    specs["ImageData, JPEG files"] = (
        f'type: "ImageData" image_data_param {{ source: "{sources["files"]}" '
        f"batch_size: {BATCH} shuffle: true }}"
    )
    layers = {}
    for i, (name, text) in enumerate(specs.items()):
        path = folder / f"layer_{side}_{i}.prototxt"
        path.write_text(
            f'layer {{ name: "x" top: "images" top: "labels" {transform} {text} }}',
            encoding="utf-8",
        )
        layers[name] = path
    return layers


def race(layers, arguments):
    """Images a second of each layer in each round.

    A net lives for its turn only: a layer that waits with full buffers costs nothing,
    but one that fills them does.
    """
    rates = {name: [] for name in layers}
    with tqdm(total=arguments.rounds * len(layers), unit="turn") as progress:
        for _ in range(arguments.rounds):
            for name, path in layers.items():
                net = pycaffe.load().Net(str(path), pycaffe.load().TRAIN)
                for _ in range(10):  # past what was made beforehand
                    net.forward()
                count, start = 0, time.perf_counter()
                while time.perf_counter() < start + arguments.seconds:
                    net.forward()
                    count += 1
                rates[name].append(count * BATCH / (time.perf_counter() - start))
                progress.update()
                del net
    return rates


def step(folder, arguments):
    """What TripletData costs in a step of a whole net, in shares of that step."""
    spec = specs.net_spec()
    database = folder / "32_raw"
    net_path, data_path = folder / "net.prototxt", folder / "data.prototxt"
    message = prototxt.train_net(spec)
    message.layer[0].triplet_data_param.source = str(database)
    prototxt.write(net_path, message)
    del message.layer[1:]  # the data layer alone
    prototxt.write(data_path, message)

    caffe = pycaffe.load()
    data = caffe.Net(str(data_path), caffe.TRAIN)
    for _ in range(10):
        data.forward()
    before, batches = cpu_seconds(), 300
    for _ in range(batches):
        data.forward()
    per_batch = (cpu_seconds() - before) / batches
    del data

    net = caffe.Net(str(net_path), caffe.TRAIN)
    steps, waits = [], []
    for _ in tqdm(range(2 * arguments.rounds), desc="training steps"):
        start = time.perf_counter()
        net._forward(0, 0)
        waits.append(time.perf_counter() - start)
        net.forward(start="pixels")
        net.backward()
        steps.append(time.perf_counter() - start)
    seconds = statistics.median(steps[1:])
    return {
        "seconds of a step, forward and backward": seconds,
        "processor seconds of TripletData for its batch": per_batch,
        "share of the step spent waiting for images": statistics.median(waits[1:]) / seconds,
        "processor time of TripletData, share of the step": per_batch / seconds,
    }


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    errors.run(main)
