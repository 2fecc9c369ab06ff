"""Small valid files for each reader, written by the project's own writers where there are any.

Each function fills a folder: a sub-folder is a seed, with all files that the reader needs.
"""

import contextlib
import gzip
import io
import os
import pathlib
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
import lmdb
import numpy as np
import scipy.io
from PIL import Image

import torch_files
from dnnh import atomic_files, paths
from dnnh.baselines import features
from dnnh.data import datasets, datums, image_database, sources, splits, triplets
from dnnh.data.dataset import Dataset, ImageFiles
from dnnh.evaluation import codes, metrics, results
from dnnh.nets import model_files, pretrained, pycaffe
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval import feature_hash, image_groups, index_writer, parquet, parquet_update
from dnnh.retrieval.engines import storage

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (9, 11, 3), dtype=np.uint8)
IMAGES = RNG.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)
LABELS = np.arange(12) % 3
CODES = RNG.integers(0, 256, (12, 2), dtype=np.uint8) & np.array([255, 15], np.uint8)  # 12 bits
NET = NetInfo(12, "digits", "dnnh", "short", "0" * 64)

DEPLOY = """
name: "tiny"
layer { name: "images" type: "Input" top: "images"
  input_param { shape { dim: 2 dim: 1 dim: 8 dim: 8 } } }
layer { name: "encode" type: "InnerProduct" bottom: "images" top: "encode"
  inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "codes" type: "Sigmoid" bottom: "encode" top: "codes" }
"""
TRAIN = """
name: "tiny"
layer { name: "triplets" type: "TripletData" top: "images"
  param { lr_mult: 0 decay_mult: 0 }
  triplet_data_param { source: "images_lmdb" batch_size: 4 threads: 1 prefetch: 1 } }
layer { name: "encode" type: "InnerProduct" bottom: "images" top: "encode"
  inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "codes" type: "Sigmoid" bottom: "encode" top: "codes" }
layer { name: "loss" type: "Reduction" bottom: "codes" top: "loss" loss_weight: 1 }
"""
LISTED = TRAIN.replace("batch_size: 4", 'batch_size: 4 triplet_file: "images_lmdb/triplets.h5"')
SOLVER = """
net: "net.prototxt"
base_lr: 0.01
lr_policy: "step"
gamma: 0.1
stepsize: 10
momentum: 0.9
weight_decay: 0.0005
max_iter: 1
display: 1
snapshot_after_train: false
snapshot_prefix: "tiny"
solver_mode: CPU
"""


def _files(folder: pathlib.Path, contents: dict[str, bytes | str]) -> pathlib.Path:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@contextlib.contextmanager
def _data_in(folder: pathlib.Path) -> Iterator[None]:
    """Let dnnh write to ``data/`` of another folder."""
    before, paths.DATA = paths.DATA, folder / "data"
    try:
        paths.DATA.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        paths.DATA = before


def _encoded(kind: str, pixels: Any = PHOTO, mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if image.mode == mode else image.convert(mode)).save(stream, kind, **options)
    return stream.getvalue()


# --- images and archives ---------------------------------------------------------------------


def images(folder: pathlib.Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation
    frames = [Image.fromarray(PHOTO[::step]) for step in (-1, 1)]
    seeds = {
        "jpeg": _encoded("JPEG", exif=exif),
        "jpeg_progressive": _encoded("JPEG", progressive=True, quality=30),
        "jpeg_cmyk": _encoded("JPEG", mode="CMYK"),
        "jpeg_gray": _encoded("JPEG", mode="L", restart_marker_blocks=1),
        "png": _encoded("PNG", exif=exif),
        "png_palette": _encoded("PNG", mode="P", transparency=0),
        "png_16": _encoded("PNG", RNG.integers(0, 65536, (6, 5), dtype=np.uint16), "I;16"),
        "png_alpha": _encoded("PNG", mode="LA"),
        "apng": _encoded("PNG", save_all=True, append_images=frames),
        "webp": _encoded("WEBP", exif=exif),
        "webp_lossless": _encoded("WEBP", mode="RGBA", lossless=True),
        "webp_animated": _encoded("WEBP", save_all=True, append_images=frames),
        "gif": _encoded("GIF", mode="P", transparency=3),
        "gif_animated": _encoded("GIF", save_all=True, append_images=frames),
        "tiff": _encoded("TIFF", exif=exif),
        "tiff_lzw": _encoded("TIFF", compression="tiff_lzw"),
        "tiff_deflate": _encoded("TIFF", compression="tiff_adobe_deflate"),
        "tiff_jpeg": _encoded("TIFF", compression="jpeg"),
        "tiff_group4": _encoded("TIFF", mode="1", compression="group4"),
        "tiff_packbits": _encoded("TIFF", mode="P", compression="packbits"),
        "bmp": _encoded("BMP"),
        "bmp_palette": _encoded("BMP", mode="P"),
        "ppm": _encoded("PPM"),
        "pgm_16": _encoded("PPM", RNG.integers(0, 65536, (6, 5)).astype(np.int32), "I"),
        "ppm_text": b"P3\n# comment\n2 2\n255\n1 2 3 4 5 6 7 8 9 10 11 12\n",
        "pbm": _encoded("PPM", mode="1"),
        "jpeg2000": _encoded("JPEG2000"),
        "jpeg2000_stream": _encoded("JPEG2000", no_jp2=True, tile_size=(4, 4)),
        "tga": _encoded("TGA"),
        "tga_rle": _encoded("TGA", mode="RGBA", compression="tga_rle"),
    }
    if "AVIF" in Image.SAVE:
        seeds["avif"] = _encoded("AVIF", speed=10)
    for name, data in seeds.items():
        _files(folder / name, {"image": data})


_MEMBERS = {
    "train/cat/a.png": _encoded("PNG"),
    "train/dog/" + "long" * 40 + ".jpg": b"not an image",
    "empty": b"",
    "text.txt": b"line\n" * 200,
}


def archives(folder: pathlib.Path) -> None:
    folder.mkdir()
    for kind, tar_format in (
        ("tar", tarfile.PAX_FORMAT),
        ("gnu.tar", tarfile.GNU_FORMAT),
        ("tar.gz", tarfile.GNU_FORMAT),
        ("tar.bz2", tarfile.GNU_FORMAT),
        ("tar.xz", tarfile.GNU_FORMAT),
    ):
        (folder / kind).mkdir()
        compression = kind.rpartition(".")[2]
        mode: Any = "w" if compression == "tar" else f"w:{compression}"
        with tarfile.open(folder / kind / f"archive.{kind}", mode, format=tar_format) as archive:
            for name, data in _MEMBERS.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "empty"
            archive.addfile(link)
    for kind, compression in (
        ("stored", zipfile.ZIP_STORED),
        ("deflated", zipfile.ZIP_DEFLATED),
        ("bzip2", zipfile.ZIP_BZIP2),
        ("lzma", zipfile.ZIP_LZMA),
    ):
        (folder / kind).mkdir()
        with zipfile.ZipFile(folder / kind / "archive.zip", "w", compression) as archive:
            for name, data in _MEMBERS.items():
                archive.writestr(zipfile.ZipInfo(name), data, compression)


# --- data sets as published ------------------------------------------------------------------


def cifar10(folder: pathlib.Path, batch: int) -> None:
    """Six files of so many images, in three forms."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    labels = [i % 10 for i in range(batch)]
    pixels = RNG.integers(0, 256, (batch, 3072), dtype=np.uint8)
    for protocol in (3, 4):
        content = {b"data": pixels, b"labels": labels}
        data = pickle.dumps(content, protocol)
        _files(folder / f"pickle{protocol}", dict.fromkeys(names, data))
    content = {b"data": pixels, b"labels": np.array(labels)}
    _files(folder / "arrays", dict.fromkeys(names, pickle.dumps(content, 4)))
    binary = np.column_stack([np.array(labels, np.uint8), pixels]).tobytes()
    _files(folder / "binary", {f"{name}.bin": binary for name in names})


def mnist(folder: pathlib.Path, count: int) -> None:
    pixels = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    contents = {
        "t10k-images-idx3-ubyte": b"\0\0\x08\x03"
        + np.array([count, 28, 28], ">u4").tobytes()
        + pixels.tobytes(),
        "t10k-labels-idx1-ubyte": b"\0\0\x08\x01"
        + np.array([count], ">u4").tobytes()
        + labels.tobytes(),
    }
    _files(folder / "plain", contents)
    _files(
        folder / "gzip",
        {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in contents.items()},
    )


def svhn(folder: pathlib.Path, count: int) -> None:
    for kind, is_compressed in (("plain", False), ("compressed", True)):
        for part in ("train", "test"):
            stream = io.BytesIO()
            arrays = {
                "X": RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8),
                "y": (np.arange(count) % 10 + 1).astype(np.uint8)[:, np.newaxis],
            }
            scipy.io.savemat(stream, arrays, do_compression=is_compressed)
            _files(folder / kind, {f"{part}_32x32.mat": stream.getvalue()})


def nuswide(folder: pathlib.Path, images: int, concepts: int, words: int) -> None:
    names = [f"actor\\{i:04}_{1000 + i}.jpg" for i in range(images)]
    contents: dict[str, bytes | str] = {
        "ImageList/Imagelist.txt": "\r\n".join(names) + "\r\n",
        "Concepts81.txt": "\n".join("abcdefgh"[:concepts]),
        "BoW_int.dat": "\n".join(
            " ".join(map(str, row)) for row in RNG.integers(0, 300, (images, words))
        ),
    }
    for column, concept in enumerate("abcdefgh"[:concepts]):
        lines = "\n".join(str(int(i % concepts == column)) for i in range(images))
        contents[f"AllLabels/Labels_{concept}.txt"] = lines
    for name in names:
        contents["images/" + name.replace("\\", "/")] = b"x"
    _files(folder / "lists", contents)


def downloads(folder: pathlib.Path, archive: bytes) -> None:
    for kind, size in (("half", len(archive) // 2), ("whole", len(archive))):
        _files(
            folder / kind,
            {"server/archive.bin": archive, "data/archive.bin.partial": archive[:size]},
        )


# --- a user's images -------------------------------------------------------------------------


def tables(folder: pathlib.Path) -> None:
    rows = 'path,label\nimages/a.png,cat\nimages/a.png,"small, red"\nimages/b.png,dog\n\n'
    contents = {"images/a.png": _encoded("PNG"), "images/b.png": _encoded("PNG", PHOTO[:4])}
    _files(folder / "csv", {"images.csv": rows, **contents})
    _files(folder / "list", {"images.csv": "images/a.png 1\nimages/b.png 12\n", **contents})


def folders(folder: pathlib.Path) -> None:
    contents = {"images/cat/a.png": _encoded("PNG"), "images/dog/b.jpg": _encoded("JPEG")}
    _files(folder / "folder", contents)


def _write_database(path: pathlib.Path, encoding: str, **options: Any) -> None:
    image_database.write_images(path, IMAGES, LABELS, {"split_seed": 0}, encoding, **options)


def databases(folder: pathlib.Path) -> None:
    folder.mkdir()
    for encoding in ("raw", "png", "jpeg"):
        _write_database(folder / encoding / "images_lmdb", encoding)
    multi_hot = np.eye(3, dtype=np.uint8)[LABELS]
    image_database.write_images(folder / "labels" / "images_lmdb", IMAGES, multi_hot, {})
    rows = np.arange(2000) % 12  # a tree of pages
    _write_many(folder / "tree" / "images_lmdb", rows)
    large = RNG.integers(0, 256, (4, 60, 60, 3), dtype=np.uint8)  # values in pages of their own
    image_database.write_images(folder / "large" / "images_lmdb", large, np.arange(4) // 2, {})
    _write_convert_imageset(folder / "convert_imageset" / "images_lmdb")


def _write_many(path: pathlib.Path, rows: np.ndarray) -> None:
    image_database.write_images(path, IMAGES, LABELS[rows], {}, "raw", rows=rows)


def _write_convert_imageset(path: pathlib.Path) -> None:
    """As Caffe's program writes them, with its kind of keys."""
    path.mkdir(parents=True)
    with (
        lmdb.open(str(path), map_size=1 << 20, sync=False, lock=False) as database,
        database.begin(write=True) as transaction,
    ):
        for i in range(4):
            datum = datums.datum(channels=3, height=9, width=11, label=i // 2)
            datum.data = PHOTO.transpose(2, 0, 1).tobytes()
            transaction.put(b"%08d_a.jpg" % i, datum.SerializeToString())


# --- files of ours ---------------------------------------------------------------------------


def _dataset(images: Any = IMAGES, labels: Any = LABELS, **options: Any) -> Dataset:
    return Dataset("photos", images, labels, ("a", "b", "c"), "made up", **options)


def data_sets(folder: pathlib.Path) -> None:
    multi_hot = np.eye(3, dtype=np.uint8)[LABELS]
    with _data_in(folder / "single"):
        datasets.save(_dataset(train=6))
    with _data_in(folder / "multi_hot"):
        datasets.save(
            _dataset(labels=multi_hot, features={"bow": np.ones((12, 4), np.uint16)}),
        )
    photos = _files(
        folder / "files",
        {f"{i}.png": _encoded("PNG", RNG.integers(0, 256, (9, 9, 3), np.uint8)) for i in range(3)},
    )
    image_files: list[Any] = sorted(photos.iterdir())
    with _data_in(photos):
        datasets.save(_dataset(ImageFiles(image_files, 8), LABELS[:3]))
    for path in image_files:
        path.unlink()
    # As another program may write it: compressed.
    with h5py.File(folder / "single" / "data" / "photos.h5") as file:
        (folder / "compressed" / "data").mkdir(parents=True)
        with h5py.File(folder / "compressed" / "data" / "photos.h5", "w") as other:
            for name in ("images", "labels"):
                other.create_dataset(name, data=file[name][:], compression="gzip", shuffle=True)  # type: ignore[index]
            other.attrs.update(file.attrs)


def split_dataset() -> Dataset:
    """The data set of the seed of splits."""
    return _dataset(np.repeat(IMAGES, 5, axis=0), np.arange(60) % 3)


def splits_of(folder: pathlib.Path) -> None:
    with _data_in(folder / "split"):
        splits.load_split(split_dataset())


def codes_files(folder: pathlib.Path) -> None:
    parts = {"bits": 12, "dataset": "digits", "method": "dnnh", "seed": 0}
    multi_hot = np.eye(3, dtype=np.uint8)[LABELS]
    folder.mkdir()
    for kind, labels in (("single", LABELS), ("multi_hot", multi_hot)):
        (folder / kind).mkdir()
        codes.save(
            folder / kind / "codes.h5",
            codes.Codes(
                CODES[:4],
                CODES,
                labels[:4],
                labels,
                **parts,
                query_ids=np.arange(4),
                database_ids=np.arange(12),
                source="made up",
                protocol="paper",
            ),
        )


def results_files(folder: pathlib.Path) -> None:
    (folder / "result").mkdir(parents=True)
    measured = metrics.evaluate(CODES[:4], CODES, LABELS[:4], LABELS, 12)
    result = results.Result(
        dataset="digits",
        method="dnnh",
        bits=12,
        seed=0,
        source="scikit-learn's digits",
        protocol="paper",
        model="net.caffemodel",
        fit_seconds=1.5,
        metrics=measured,
        seconds=0.5,
    )
    results.write_result(folder / "result" / "result.json", result)


def outputs(images: Any) -> Any:
    """Relaxed codes of 12 bits, without a net."""
    return images.reshape(len(images), -1)[:, :12] / 255


class _Input:
    stored_size, channels = 8, 1


NET_INPUT = _Input()


def half_done(folder: pathlib.Path) -> None:
    """Indexes that were interrupted after two groups of three images."""
    folder.mkdir()
    _start_index(folder / "index")


def set_times(photos: pathlib.Path) -> None:
    """Give all images one time, as encoding is not resumed where it changed."""
    for path in photos.rglob("*"):
        os.utime(path, (0, 0))


def _start_index(folder: pathlib.Path) -> Any:
    contents = {f"photos/cat/{i}.png": _encoded("PNG", PHOTO[i:]) for i in range(7)}
    _files(folder, {**contents, "photos/cat/broken.png": b"not an image"})
    set_times(folder / "photos")
    writer = index_writer.IndexWriter(folder / "index.h5", NET, "photos")
    images = list(sources.items(folder / "photos"))
    for start in (0, 3):
        for group in image_groups.read_groups(images[start : start + 3], NET_INPUT):
            writer.add(group, outputs)
    for file in writer._files.values():
        file.close()
    return writer


def indexes(folder: pathlib.Path) -> None:
    _start_index(folder / "index")
    writer = index_writer.IndexWriter(folder / "index" / "index.h5", NET, "photos")
    writer.finish()
    for path in (folder / "index").iterdir():
        if path.name != "index.h5":
            atomic_files.remove(path)
    for name in ("itq", "ksh"):
        _files(folder / name, {"index.h5": (folder / "index/index.h5").read_bytes()})
        with h5py.File(folder / name / "index.h5", "a") as file:
            _write_hash(file, name)


def _write_hash(file: h5py.File, name: str) -> None:
    """What an index of hashed features has beside its codes."""
    file.attrs["method"] = "efficientnet_lite0"
    mean = RNG.normal(size=pretrained.NETWORKS["efficientnet_lite0"].features)
    parameters = {"mean": mean, "projection": RNG.normal(size=(len(mean), NET.bits))}
    if name == "ksh":
        anchors = RNG.normal(size=(4, len(mean)))
        parameters = {"mean": mean, "weights": RNG.normal(size=(4, NET.bits))}
        parameters |= {
            "kernel_anchors": anchors,
            "kernel_spread": np.float64(9),
            "kernel_mean": np.zeros(4),
        }
    group = file.create_group(feature_hash.GROUP)
    group.attrs[feature_hash.METHOD] = name
    for part, array in parameters.items():
        group[part] = array


def parquet_indexes(folder: pathlib.Path) -> None:
    import pyarrow
    from pyarrow import parquet as arrow

    index = folder / "index" / "index"
    (index / parquet.IMAGES).mkdir(parents=True)
    words = parquet.words(CODES)
    for part in range(2):
        rows = list(range(part, 12, 2))
        skipped = [None if row != 5 else "not readable" for row in rows]
        columns = {
            "row": rows,
            "name": [f"{row}.png" for row in rows],
            "labels": [["cat", "dog"][: row % 3] for row in rows],
            "stamp": [f"{row} 7" for row in rows],
            "skipped": pyarrow.array(skipped, pyarrow.string()),
            "word_0": words[rows, 0],
        }
        arrow.write_table(pyarrow.table(columns), index / parquet.IMAGES / f"part-{part}.parquet")
    texts = NET.dataset, NET.method, NET.schedule, NET.weights
    parquet.write_about(index, parquet.About(NET.bits, *texts, "photos", 11, 1, "time"))
    parquet_update.remove(index, ["3.png"])


def engines(folder: pathlib.Path) -> None:
    folder.mkdir()
    for name in storage.ENGINES:
        (folder / name).mkdir()
        engine = storage.make_engine(name, 12)
        if name == "ivf":
            engine = storage.IvfEngine(12, 2, 1)
        engine.add(np.repeat(CODES, 8, axis=0))
        engine.search(CODES[:1], 3)
        engine.add(CODES[:3])
        storage.save(engine, folder / name / "engine.h5")


def feature_files(folder: pathlib.Path) -> None:
    values = RNG.normal(size=(12, 5)).astype(np.float32)
    for name in ("npy", "fortran"):
        (folder / name).mkdir(parents=True)
        np.save(
            folder / name / "features.npy", np.asfortranarray(values) if name != "npy" else values
        )
    (folder / "hdf5").mkdir()
    with h5py.File(folder / "hdf5" / "features.h5", "w") as file:
        file["features"] = values
    with _data_in(folder / "gist"):
        features.load("gist", _dataset())


def logs(folder: pathlib.Path) -> None:
    lines = [
        "I1128 06:31:52.000000  1 solver.cpp:239] Iteration 0 (0 iter/s, 16s/20 iters), loss = 0.98",
        "I1128 06:31:52.000000  1 solver.cpp:258]     Train net output #0: loss = 0.98 (* 1 = 0.98 loss)",
        "I1128 06:31:52.000000  1 x.cpp:1] PiecewiseThreshold layer 'codes': epsilon = 0.4 from iteration 5",
        "I1128 06:31:53.000000  1 solver.cpp:347] Iteration 20, Testing net (#0)",
        "I1128 06:31:53.000000  1 solver.cpp:414]     Test net output #0: distinct_codes = 61",
    ]
    _files(folder / "log", {"training.log": "\n".join(lines) + "\n"})


# --- nets, for Python and for the program caffe ------------------------------------------------


def prototxts(folder: pathlib.Path) -> None:
    _files(folder / "net", {"net.prototxt": DEPLOY})
    _files(folder / "solver", {"solver.prototxt": SOLVER})


def _write_weights(folder: pathlib.Path, net: str) -> None:
    """A model of an untrained net; TripletData needs its database for that."""
    caffe = pycaffe.load()
    _files(folder, {"net.prototxt": net})
    with contextlib.chdir(folder):
        caffe.set_random_seed(1)
        caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")


def torch_states(folder: pathlib.Path) -> None:
    tensors = {"rows": torch_files.tensor("1", 0, (2, 3), (3, 1))}
    tensors["count"] = torch_files.tensor("2", 0, (), (), "LongStorage", 1)
    storages = [np.arange(6, dtype="<f4"), np.array([7], "<i8")]
    state = torch_files.dump(
        *torch_files.START, tensors, ["1", "2"], *map(torch_files.storage, storages)
    )
    _files(folder / "state", {"net.pth": state})


def models(folder: pathlib.Path) -> None:
    _write_weights(folder / "binary", DEPLOY)
    _write_weights(folder / "hdf5", DEPLOY)
    model = folder / "hdf5/net.caffemodel"
    with h5py.File(model.with_name("net.caffemodel.h5"), "w") as file:
        model_files.write_halved(file, model_files.read(model))
    model.unlink()


def _trainings(folder: pathlib.Path, net: str = TRAIN) -> pathlib.Path:
    _write_database(
        folder / "images_lmdb", "raw", triplets=triplets.draw_triplets(LABELS, 20, seed=0)
    )
    return _files(folder, {"solver.prototxt": SOLVER, "net.prototxt": net})


def trained_databases(folder: pathlib.Path) -> None:
    databases(folder)
    for seed in folder.iterdir():
        _files(seed, {"solver.prototxt": SOLVER, "net.prototxt": TRAIN})


def triplet_lists(folder: pathlib.Path) -> None:
    _trainings(folder / "listed", LISTED)


def training_prototxts(folder: pathlib.Path) -> None:
    _trainings(folder / "online")
    _trainings(folder / "listed", LISTED)


def training_weights(folder: pathlib.Path) -> None:
    _snapshots(folder, "caffemodel")


def solver_states(folder: pathlib.Path) -> None:
    _snapshots(folder, "solverstate")


def _snapshots(folder: pathlib.Path, kind: str) -> None:
    """A training of one step with its snapshot, in both formats; it goes on for a step."""
    caffe = pycaffe.load()
    for name, snapshot_format in (("binary", "BINARYPROTO"), ("hdf5", "HDF5")):
        seed = _trainings(folder / name)
        with contextlib.chdir(seed):
            text = SOLVER.replace("max_iter: 1", "max_iter: 2")
            text += f"snapshot_format: {snapshot_format}\n"
            pathlib.Path("solver.prototxt").write_text(text, encoding="utf-8")
            solver = caffe.get_solver("solver.prototxt")
            solver.step(1)
            solver.snapshot()
            del solver
            end = ".h5" if name == "hdf5" else ""
            pathlib.Path(f"tiny_iter_1.caffemodel{end}").rename(f"net.caffemodel{end}")
            state = pathlib.Path(f"tiny_iter_1.solverstate{end}")
            data = state.read_bytes()
            if name == "binary":
                message = pycaffe.messages().SolverState.FromString(data)
                message.learned_net = "net.caffemodel"
                data = message.SerializeToString()
            state.write_bytes(data)
            if name == "hdf5":
                with h5py.File(state, "r+") as file:
                    del file["learned_net"]
                    file["learned_net"] = np.bytes_("net.caffemodel.h5")
            state.rename(f"state.solverstate{end}")
            if kind == "caffemodel":
                pathlib.Path(f"state.solverstate{end}").unlink()
