"""From images to a collection, and from an image to its neighbours."""

import concurrent.futures
import fcntl
import importlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request

import caffe
import h5py
import numpy as np
import pytest
from PIL import Image

from dnnh import (collection, datasets, encoder, finder, models, nets, parquet, paths, ranking,
                  sources)
from dnnh.datasets import trees
from dnnh.errors import UserError

SPEC = nets.net_spec("digits", bits=12)
DIGITS = datasets.load("digits").images


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A net that has learnt nothing, but whose bits differ."""
    path = tmp_path_factory.mktemp("weights") / "net.caffemodel"
    caffe.set_random_seed(1)
    net = caffe.Net(str(SPEC.files["deploy"]), caffe.TEST)
    net.blobs["images"].data[...] = DIGITS[:100].transpose(0, 3, 1, 2)
    net.forward()
    net.params["encode"][1].data[...] = -net.blobs["encode"].data.mean(axis=0)
    net.save(str(path))
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """37 digits in folders of their classes, and two files that are none."""
    monkeypatch.setattr(collection, "GROUP", 10)
    for i in range(37):
        folder = tmp_path / "photos" / f"class{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS[i, :, :, 0]).save(folder / f"{i:02}.png")
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    (tmp_path / "photos/class1/zero.png").write_bytes(b"")
    return tmp_path / "photos"


def digit(path):
    return trees.decode_image(path.read_bytes(), path)


def order():
    """Which digits, in the order of the folder."""
    return sorted(range(37), key=lambda i: (i % 3, i))


@pytest.fixture
def run(monkeypatch, capsys, weights):
    """Runs a tool with the net; gives what it prints."""
    def run(tool, *arguments):
        command = importlib.import_module(tool)
        monkeypatch.setattr("sys.argv", [f"{tool}.py", *map(str, arguments), "--model",
                                         str(weights)])
        command.main()
        return capsys.readouterr().out

    def encode(photos, out, *arguments):
        return run("encode", "--images", photos, "--out", out, "--dataset", "digits",
                   "--bits", 12, *arguments)
    run.encode = encode
    return run


def test_a_folder_becomes_a_collection(photos, tmp_path, run, weights):
    said = run.encode(photos, tmp_path / "c.h5")
    assert "37 images, 12 bits each; 2 could not be read" in said
    found = collection.load(tmp_path / "c.h5")
    net = encoder.Encoder(nets.deploy(SPEC), weights)
    assert np.array_equal(found.codes, net.encode(DIGITS[order()]))
    assert found.names(slice(0, 2)) == ["class0/00.png", "class0/03.png"]
    assert found.labels(36) == [("class2",)] and found.left_out == 2
    assert (tmp_path / "c.h5.left_out.txt").read_text().count("is not a readable image") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c.h5", "c.h5.left_out.txt", "photos"]
    with pytest.raises(UserError, match="c.h5 is there already; --force replaces it"):
        run.encode(photos, tmp_path / "c.h5")
    run.encode(photos, tmp_path / "c.h5", "--force")


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_stopped_and_gone_on_it_is_the_same_to_the_byte(photos, tmp_path, run, stop,
                                                        monkeypatch):
    run.encode(photos, tmp_path / "whole.h5")
    outputs, done = encoder.Encoder.outputs, []

    def stopping(net, images):
        done.append(len(images))
        if len(done) > stop:
            raise KeyboardInterrupt
        return outputs(net, images)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoder.Encoder, "outputs", stopping)
        run.encode(photos, tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()
    # Killed while it wrote: a piece of a group is behind what is known to be whole.
    with (tmp_path / "c.h5.partial/codes").open("ab") as file:
        file.write(b"xyz")
    said = run.encode(photos, tmp_path / "c.h5")
    assert (f"going on behind {10 * stop} images" in said) == (stop > 0)
    assert (tmp_path / "c.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_what_cannot_go_on(photos, tmp_path, run, monkeypatch):
    state = tmp_path / "c.h5.partial/state.json"

    def begun(**changes):
        state.parent.mkdir(exist_ok=True)
        for name in collection.FILES:
            (state.parent / name).touch()
        whole = collection.Writer(tmp_path / "d.h5", {}).state
        state.write_text(json.dumps({**whole, **changes}))

    begun(about={"bits": 48})
    with pytest.raises(UserError, match="is of another net or other images"):
        run.encode(photos, tmp_path / "c.h5")
    state.write_text("nonsense")
    with pytest.raises(UserError, match="state.json cannot be read .*delete"):
        run.encode(photos, tmp_path / "c.h5")
    about = {"bits": 12, "dataset": "digits", "variant": "", "weights": paths.digest(
        __import__("pathlib").Path(__import__("sys").argv[-1])),
        "source": str(photos.resolve())}
    begun(about=about, codes=20)
    with pytest.raises(UserError, match="'codes' has 0 bytes, not 20.; delete"):
        run.encode(photos, tmp_path / "c.h5")
    begun(about=about, coded="x")
    with pytest.raises(UserError, match="other entries"):
        run.encode(photos, tmp_path / "c.h5")
    # One more image, or one less, before where it was.
    for seen, last in ((50, "z.png"), (5, "class0/06.png")):
        begun(about=about, seen=seen, last=last)
        with pytest.raises(UserError, match=f"other images than .*image {seen} was '{last}'"):
            run.encode(photos, tmp_path / "c.h5")
    begun(about=about)
    with (state.parent / "claim").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is writing to .*c.h5.partial"):
            run.encode(photos, tmp_path / "c.h5")


def test_places_that_cannot_be_written_to(photos, tmp_path, run):
    with pytest.raises(UserError, match="lies in --images .*photos, and would be taken"):
        run.encode(photos, photos / "c.h5")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder is of the other kind"):
        run.encode(photos, tmp_path / "folder", "--force")
    (tmp_path / "folder/thesis.tex").touch()
    with pytest.raises(UserError, match="folder is not a collection of codes as Parquet"):
        run.encode(photos, tmp_path / "folder", "--force", "--engine", "spark")
    assert (tmp_path / "folder/thesis.tex").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is of the other kind"):
        run.encode(photos, tmp_path / "file", "--force", "--engine", "spark")


def test_a_list_of_what_was_left_out_does_not_outlive_it(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    (photos / "broken.jpg").unlink()
    (photos / "class1/zero.png").unlink()
    run.encode(photos, tmp_path / "c.h5", "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.h5", "photos"]


def test_as_much_room_is_asked_for_as_is_taken(tmp_path, monkeypatch):
    asked, written = [], paths.hdf5_written_whole
    monkeypatch.setattr(paths, "hdf5_written_whole",
                        lambda path, size: asked.append(size) or written(path, size))
    about = {"bits": 12, "dataset": "digits", "variant": "", "weights": "", "source": ""}
    recipe = SPEC.recipe
    blank = np.zeros((8, 8, 3), np.uint8)
    for length in (1, 10, 200):
        path = tmp_path / f"{length}.h5"
        writer = collection.Writer(path, about)
        writer.add([sources.Item(f"{i:0{length}}", ("a",), lambda: blank)
                    for i in range(20_000)], recipe, lambda images: np.zeros((len(images), 12)))
        writer.finish()
        assert path.stat().st_size < asked[-1] < 2 * path.stat().st_size + 1_000_000


def test_labels_that_are_none(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    for text in ("nonsense", "5", "[1]"):
        with h5py.File(tmp_path / "c.h5", "a") as file:
            file["labels"][3] = text
        with pytest.raises(UserError, match=r"c.h5 has the labels .*, which are none"):
            collection.load(tmp_path / "c.h5").labels(3)


def test_no_image_at_all(tmp_path, run):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no image that can be read"):
        run.encode(tmp_path / "empty", tmp_path / "c.h5")
    (tmp_path / "empty/x.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="can be read; the first: .*x.jpg is not a readable"):
        run.encode(tmp_path / "empty", tmp_path / "c.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_image_finds_itself_and_its_neighbours(photos, tmp_path, run, weights):
    run.encode(photos, tmp_path / "c.h5")
    with finder.opened(tmp_path / "c.h5") as opened:
        found = finder.Finder(*opened)
    path = photos / "class1/16.png"
    code = finder.Coder(found.collection, weights).code(digit(path))
    hits, = found.nearest(code, 5)
    assert len(hits) == 5
    itself, = [hit for hit in hits if hit.name == "class1/16.png"]
    assert itself.distance == 0 and itself.labels == ("class1",)
    distances = (ranking.unpack(found.collection.codes, 12)
                 != ranking.unpack(code, 12)).sum(axis=1)
    assert [hit.distance for hit in hits] == sorted(distances)[:5]
    assert [hit.row for hit in found.within(code[0], 12, 100)] == np.argsort(
        distances, kind="stable").tolist()
    assert np.array_equal(found.image(hits[0].name), digit(photos / hits[0].name))
    said = run("search", "--codes", tmp_path / "c.h5", "--image", path, "--top", 3,
               "--json", tmp_path / "hits.json", "--html", tmp_path / "hits.html")
    assert len(said.splitlines()) == 3
    written = json.loads((tmp_path / "hits.json").read_text())
    assert [hit["name"] for hit in written["hits"]] == [hit.name for hit in hits[:3]]
    page = (tmp_path / "hits.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page
    (photos / hits[1].name).unlink()
    run("search", "--codes", tmp_path / "c.h5", "--image", path, "--html",
        tmp_path / "hits.html")
    assert "cannot be read" in (tmp_path / "hits.html").read_text()
    for wrong, message in ((photos / "broken.jpg", "is not a readable image"),
                           (photos / "nowhere.jpg", "nowhere.jpg cannot be read"),
                           (photos, "cannot be read .Is a directory")):
        with pytest.raises(UserError, match=message):
            run("search", "--codes", tmp_path / "c.h5", "--image", wrong)


def test_several_threads_get_the_codes_of_their_images(photos, tmp_path, run, weights,
                                                       monkeypatch):
    """Caffe's nets are for one thread at a time."""
    run.encode(photos, tmp_path / "c.h5")
    outputs, inside = encoder.Encoder.outputs, []

    def alone(net, images):
        inside.append(1)
        time.sleep(0.001)                      # let others in, if they can come
        assert len(inside) == 1
        inside.clear()
        return outputs(net, images)

    monkeypatch.setattr(encoder.Encoder, "outputs", alone)
    found = collection.load(tmp_path / "c.h5")
    coder = finder.Coder(found, weights)
    names = found.names(slice(0, 37))

    def code(name):
        return coder.code(digit(photos / name))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert np.array_equal(np.concatenate(list(pool.map(code, names))),
                              found.codes)


def test_codes_of_other_weights(photos, tmp_path, run, weights):
    run.encode(photos, tmp_path / "c.h5")
    (tmp_path / "other.caffemodel").write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(UserError, match="was coded with other weights than .*--model"):
        finder.Coder(collection.load(tmp_path / "c.h5"), tmp_path / "other.caffemodel")


def test_the_weights_it_was_coded_with_are_found(photos, tmp_path, run, weights, monkeypatch):
    """Among all trainings of the net; newer ones, too."""
    run.encode(photos, tmp_path / "c.h5")
    found = collection.load(tmp_path / "c.h5")
    newer = tmp_path / "newer.caffemodel"
    newer.write_bytes(weights.read_bytes() + b"\0")
    monkeypatch.setattr(models, "models_of", lambda spec: [(newer, ""), (weights, "")])
    name, = found.names(0)
    assert found.names(np.array([5, 0, 5])) == [*found.names(5), name, *found.names(5)]
    assert np.array_equal(finder.Coder(found).code(digit(photos / name)), found.codes[:1])
    monkeypatch.setattr(models, "models_of", lambda spec: [(newer, "")])
    with pytest.raises(UserError, match="other weights than any of digits_12bit here"):
        finder.Coder(found)


def test_a_page_is_served_until_it_is_stopped(photos, tmp_path, run, weights):
    pytest.importorskip("uvicorn")
    run.encode(photos, tmp_path / "c.h5")
    command = [sys.executable, str(paths.ROOT / "tools/serve.py"), "--codes",
               str(tmp_path / "c.h5"), "--model", str(weights)]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE,
                          text=True) as served:
        try:
            address = served.stdout.readline().strip()
            port = address.rpartition(":")[2]
            with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
                assert json.load(answer)["images"] == 37
            other = subprocess.run([*command, "--port", port], capture_output=True, text=True,
                                   timeout=60)
            assert other.returncode == 1 and re.fullmatch(
                rf"error: '127.0.0.1', port {port}, cannot be listened on .*--port or --host\n",
                other.stderr)
            served.send_signal(signal.SIGINT)
            served.wait(60)
        finally:
            served.kill()
    assert served.returncode == 0


@pytest.mark.parametrize("change, message", [
    (lambda file: file.attrs.__delitem__("bits"), "it has no bits"),
    (lambda file: file.__delitem__("names"), "it has no names"),
    (lambda file: file.attrs.__setitem__("bits", 20), r"codes are uint8 of shape \(37, 2\); this index has 20 bits"),
    (lambda file: file.__delitem__("labels") or file.__setitem__("labels", ["a"]),
     r"labels is object of shape \(1,\) for 37 codes"),
    (lambda file: file.__delitem__("names") or file.__setitem__("names", np.arange(37)),
     r"names is int64 of shape \(37,\)")])
def test_what_is_no_collection(photos, tmp_path, run, change, message):
    run.encode(photos, tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        change(file)
    with pytest.raises(UserError, match=f"is not a collection of codes .*{message}"):
        collection.load(tmp_path / "c.h5")
    with pytest.raises(UserError, match="nowhere.h5 is not there; make a collection"):
        collection.load(tmp_path / "nowhere.h5")


def test_json_that_is_nested_too_deep(tmp_path):
    deep = "[" * 100_000
    with pytest.raises(UserError, match="has the labels .*, which are none"):
        collection._labels(deep, "x.h5")
    (tmp_path / parquet.ABOUT).write_text(deep)
    with pytest.raises(UserError, match="is not a collection of codes as Parquet"):
        parquet.described(tmp_path)


def test_codes_from_words_lie_in_one_piece():
    """As Milvus's digest and FAISS want them."""
    codes = np.random.default_rng(0).integers(0, 256, (9, 6), np.uint8)
    packed = parquet.packed(parquet.words(codes), 48)
    assert packed.flags.c_contiguous and (packed == codes).all()
