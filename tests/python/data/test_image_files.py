"""Image files whose pixels are fine and whose metadata is not."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from dnnh import limits
from dnnh.data.image_files import decode_image
from dnnh.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def encoded(kind="PNG", pixels=PIXELS, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def chunk(kind, content, checksum=None):
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def with_chunk(png, *made):
    """A PNG file with a chunk behind its header."""
    return png[:33] + b"".join(made) + png[33:]


@pytest.mark.parametrize(
    "made",
    [
        chunk(b"tEXt", b"Comment\0hello", checksum=1),
        chunk(b"iCCP", b"large\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"zTXt", b"large\0\0" + zlib.compress(bytes(80_000_000))),
        chunk(b"iTXt", b"no end"),
        chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        chunk(b"eXIf", b"no EXIF"),
        chunk(b"eXIf", b"MM\0*" + bytes(4), checksum=1),
        chunk(b"pHYs", b"short"),
        chunk(b"acTL", struct.pack(">II", 9, 0)),
    ],
    ids=lambda made: made[4:8].decode(),
)
def test_png_with_broken_metadata_has_its_pixels(made):
    assert (decode_image(with_chunk(encoded(), made), "a") == PIXELS).all()


def exif(orientation, resolution=(72, 1)):
    """EXIF data with an orientation and a resolution, a rational."""
    return b"Exif\0\0" + struct.pack(
        "<2sHIHHHIIHHIIIII",
        *(b"II", 42, 8, 2, 0x0112, 3, 1, orientation, 0x011A, 5, 1, 38, 0),
        *resolution,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation(kind, orientation):
    data = encoded(kind, exif=exif(orientation))
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert (decode_image(data, "a") == expected).all()
    assert expected.shape == ((5, 7, 3) if orientation < 5 else (7, 5, 3))


def test_jpeg_with_a_broken_rational_is_rotated():
    data = encoded("JPEG", exif=exif(6, resolution=(1, 0)))
    assert decode_image(data, "a").shape == (7, 5, 3)


@pytest.mark.parametrize("broken", [b"", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_jpeg_with_broken_exif_is_decoded_in_silence(tmp_path, broken):
    plain = encoded("JPEG")
    content = b"Exif\0\0" + broken
    segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    data = plain[:2] + segment + plain[2:]
    assert (decode_image(data, "a") == decode_image(plain, "b")).all()
    (tmp_path / "a.jpg").write_bytes(data)
    program = (
        "import pathlib, sys; from dnnh.data.image_files import decode_image; "
        "decode_image(pathlib.Path(sys.argv[1]).read_bytes(), 'a')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.jpg"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("cut", [8, 20, 33, 60])
def test_truncated_png_is_one_sentence(cut):
    with pytest.raises(UserError, match="a.png is not a readable image"):
        decode_image(encoded()[:cut], "a.png")


def test_broken_pixels_are_refused():
    data = bytearray(encoded())
    data[data.index(b"IDAT") + 10] ^= 255
    with pytest.raises(UserError, match="a.png .*its chunk IDAT .*wrong checksum"):
        decode_image(bytes(data), "a.png")


def test_large_jpeg_files_are_decoded_at_a_reduced_size(monkeypatch):
    monkeypatch.setattr(limits, "IMAGE_PIXELS", 1_000)
    monkeypatch.setattr(limits, "JPEG_PIXELS", 20_000)
    ramp = np.tile(np.arange(0, 240, 2, dtype=np.uint8)[:, np.newaxis, np.newaxis], (1, 80, 3))
    image = decode_image(encoded("JPEG", ramp, quality=95), "a")
    assert image.shape == (30, 20, 3)  # a quarter: half of it has 2,400 pixels
    expected = ramp.reshape(30, 4, 20, 4, 3).mean(axis=(1, 3))
    assert np.abs(image - expected).max() < 4
    # Rotated as the whole image would be.
    rotated = decode_image(encoded("JPEG", ramp, quality=95, exif=exif(6)), "a")
    assert (rotated == np.rot90(image, -1)).all()
    with pytest.raises(UserError, match="a claims 80x120 pixels, over the limit of 1,000"):
        decode_image(encoded("JPEG", ramp, progressive=True), "a")
    monkeypatch.setattr(limits, "JPEG_PIXELS", 9_000)
    with pytest.raises(UserError, match="a claims 80x120 pixels"):
        decode_image(encoded("JPEG", ramp), "a")


def test_a_very_long_image_is_refused():
    data = encoded(pixels=np.zeros((70_000, 1, 3), np.uint8))
    with pytest.raises(UserError, match="a claims 1x70000 pixels; a side has at most 65,535"):
        decode_image(data, "a")


@pytest.mark.filterwarnings("ignore::UserWarning")  # pytest sets filters of its own
def test_damaged_tiff_files_are_refused_in_silence(capfd):
    """libtiff would print each damage."""
    whole = encoded("TIFF", compression="tiff_adobe_deflate")
    refused = 0
    for at in range(len(whole)):
        try:
            decode_image(whole[:at] + b"\x7f" + whole[at + 1 :], "a.tif")
        except UserError:
            refused += 1
    assert refused > 50
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tail", [b"", bytes(3000)])
def test_a_jpeg_whose_end_is_missing(tail):
    """What an interrupted copy leaves; libjpeg makes the rest gray."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    whole = file.getvalue()
    assert decode_image(whole, "x.jpg").shape == (64, 64, 3)
    assert decode_image(whole + tail, "x.jpg").shape == (64, 64, 3)
    with pytest.raises(UserError, match="x.jpg is not a readable image: .*truncated"):
        decode_image(whole[: len(whole) // 2] + tail, "x.jpg")


def test_a_jpeg_of_many_scans():
    """Each passes over all pixels, however few bytes it has."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert decode_image(whole[:-2] + 3 * last + whole[-2:], "x.jpg").shape == (64, 64, 3)
    with pytest.raises(UserError, match=r"^x.jpg has 2\d\d scans; at most 100"):
        decode_image(whole[:-2] + 200 * last + whole[-2:], "x.jpg")
    # Behind the picture, as phones append a video, and in a comment they are none.
    comment = b"\xff\xfe" + (402).to_bytes(2, "big") + 200 * b"\xff\xda"
    for photo in (whole + 200 * last, whole[:2] + comment + whole[2:]):
        assert decode_image(photo, "x.jpg").shape == (64, 64, 3)


def test_a_large_jpeg_with_a_second_picture(monkeypatch):
    """As phones make them (MPO)."""
    monkeypatch.setattr(limits, "IMAGE_PIXELS", 1_000)
    monkeypatch.setattr(limits, "JPEG_PIXELS", 20_000)
    file = io.BytesIO()
    images = [Image.new("RGB", size, (200, 10, 10)) for size in ((100, 100), (20, 20))]
    images[0].save(file, "MPO", save_all=True, append_images=images[1:])
    image = decode_image(file.getvalue(), "x.jpg")
    assert image.shape == (25, 25, 3) and abs(int(image[0, 0, 0]) - 200) < 5
