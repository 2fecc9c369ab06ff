"""Groups of nearly equal codes, against all pairs of them; the tool and its page."""

import json
import shutil

import numpy as np
import pytest

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.retrieval import duplicates


def by_all_pairs(codes, radius):
    """Rows that are joined, by definition: grown from each row until nothing is near."""
    near = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2) <= radius
    found, free = [], set(range(len(codes)))
    while free:
        group, waiting = set(), [min(free)]
        while waiting:
            row = waiting.pop()
            if row not in group:
                group.add(row)
                waiting += np.flatnonzero(near[row]).tolist()
        free -= group
        if len(group) > 1:
            found.append(sorted(group))
    return sorted(found, key=lambda rows: (-len(rows), rows[0]))


@pytest.mark.parametrize("bits", [8, 12, 48, 64, 100])
@pytest.mark.parametrize("radius", [0, 1, 2, 5])
@pytest.mark.parametrize("most", [duplicates.MAX_PAIRS, 7])
def test_groups_are_those_of_all_pairs(bits, radius, most, monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_PAIRS", most)
    random = np.random.default_rng(bits + radius)
    centres = random.integers(0, 2, (40, bits))
    ones = centres[random.integers(0, 40, 300)]
    ones ^= random.random(ones.shape) < 1.5 / bits
    codes = packed_codes.pack(ones)
    groups = [rows.tolist() for rows in duplicates.groups(codes, bits, radius)]
    assert groups == by_all_pairs(codes, radius)
    assert groups or radius == 0


def test_no_codes_and_no_groups():
    assert duplicates.groups(np.zeros((0, 6), np.uint8), 48, 2) == []
    assert duplicates.groups(np.zeros((1, 6), np.uint8), 48, 2) == []
    apart = packed_codes.pack(np.eye(2, 48, dtype=int))
    assert duplicates.groups(apart, 48, 1) == [] and len(duplicates.groups(apart, 48, 2)) == 1


@pytest.mark.parametrize("radius", [-1, 48])
def test_radius_out_of_range(radius):
    with pytest.raises(UserError, match=f"radius {radius}: codes of 48 bits have radii"):
        duplicates.groups(np.zeros((3, 6), np.uint8), 48, radius)


def test_copies_are_found(photos, tmp_path, run):
    shutil.copy(photos / "class0/00.png", photos / "class2/copy & <b>.png")
    run.encode(photos, tmp_path / "c.h5")
    (photos / "class0/00.png").unlink()
    words = ["duplicates", "--index", tmp_path / "c.h5", "--radius", 0]
    outputs = ["--json", tmp_path / "d.json", "--html", tmp_path / "d.html"]
    printed = run.plain(*words, *outputs)
    groups = json.loads((tmp_path / "d.json").read_text())["groups"]
    names = [[image["name"] for image in group] for group in groups]
    (with_copy,) = [group for group in names if "class0/00.png" in group]
    assert "class2/copy & <b>.png" in with_copy
    assert all(image["distance"] == 0 for group in groups for image in group)
    assert "  class2/copy & <b>.png\n" in printed
    page = (tmp_path / "d.html").read_text()
    assert "copy &amp; &lt;b&gt;.png" in page and "http" not in page
    assert "cannot be read" in page  # the one that was deleted
    assert page.count("data:image/png;base64,") == sum(map(len, names)) - 1
    printed = run.plain(*words, "--groups", 1)
    assert f"1 of {len(groups)} groups" in printed


def test_copies_behind_an_image_that_was_removed(photos, tmp_path, run):
    shutil.copy(photos / "class2/35.png", photos / "class2/copy.png")
    run.encode(photos, tmp_path / "c.h5")
    run.plain("encode", "--output", tmp_path / "c.h5", "--remove", "class0/00.png", "class1/01.png")
    run.plain(
        "duplicates", "--index", tmp_path / "c.h5", "--radius", 0, "--json", tmp_path / "d.json"
    )
    groups = json.loads((tmp_path / "d.json").read_text())["groups"]
    names = [{image["name"] for image in group} for group in groups]
    (with_copy,) = [group for group in names if "class2/copy.png" in group]
    assert "class2/35.png" in with_copy
    assert not set.union(*names) & {"class0/00.png", "class1/01.png"}


def test_codes_that_are_all_alike(photos, tmp_path, run):
    """Codes that tell classes apart tell no copies apart: the tool says so."""
    run.encode(photos, tmp_path / "c.h5")
    run.plain("duplicates", "--index", tmp_path / "c.h5", "--radius", 8)
    said = run.said()
    assert "37 of 37 images are in the largest group" in said and "--radius" in said


def test_no_copies(photos, tmp_path, run):
    for path in photos.rglob("*.png"):
        if path.name not in ("00.png", "01.png"):
            path.unlink()
    run.encode(photos, tmp_path / "c.h5")
    words = ["duplicates", "--index", tmp_path / "c.h5", "--html", tmp_path / "d.html"]
    printed = run.plain(*words, "--radius", 0)
    assert printed.startswith("no two of 2 images are within Hamming radius 0")
    assert (tmp_path / "d.html").exists()
