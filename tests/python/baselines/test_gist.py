"""GIST, checked by what it must answer to."""

import numpy as np
import pytest
import scipy.fft

from dnnh.baselines import gist
from dnnh.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def grating(cycles_a_pixel, angle, side=32):
    """A grey grating whose waves run along ``angle``, rows counted downwards."""
    y, x = np.mgrid[:side, :side]
    wave = np.sin(2 * np.pi * cycles_a_pixel * (x * np.cos(angle) + y * np.sin(angle)))
    return np.repeat((127.5 + 120 * wave)[None, :, :, None], 3, axis=3).astype(np.uint8)


@pytest.mark.parametrize("scale", range(4))
@pytest.mark.parametrize("orientation", range(8))
def test_a_grating_answers_in_its_own_scale_and_orientation(scale, orientation):
    side = 64  # room for the coarsest
    angle = -np.pi / 8 * orientation
    features = gist.describe(grating(0.3 / 1.85**scale, angle, side)).reshape(4, 8, 16)
    # Mirroring at the edges answers too, with the mirrored orientation: look inside.
    inside = features.reshape(4, 8, 4, 4)[:, :, 1:3, 1:3].mean((2, 3))
    if scale < 3:  # the coarsest is what the prefilter takes out in part
        assert np.unravel_index(inside.argmax(), inside.shape) == (scale, orientation)
    assert inside[scale].argmax() == orientation


def test_a_shift_by_a_block_moves_blocks():
    image = np.full((1, 64, 64, 3), 128, np.uint8)
    image[0, 20:28, 20:28] = RNG.integers(0, 256, (8, 8, 3))
    shifted = np.roll(image, 16, axis=2)  # one block to the right
    here, there = (gist.describe(x).reshape(32, 4, 4) for x in (image, shifted))
    inner = here[:, 1:3, 0:2]
    assert np.abs(inner - there[:, 1:3, 1:3]).max() < 0.1 * inner.max()
    assert here[:, 1, 1].mean() > 3 * here[:, 1, 3].mean()
    assert there[:, 1, 2].mean() > 3 * there[:, 1, 0].mean()


def prefilter(grey):
    """Torralba's, by whole transforms: local luminance out, local contrast divided by."""
    low, high = (f(axis=(1, 2), keepdims=True) for f in (grey.min, grey.max))
    logs = np.pad(
        np.log(1 + 255 * (grey - low) / (high - low)), ((0, 0), (5, 5), (5, 5)), "symmetric"
    )
    cycles = scipy.fft.fftfreq(42) * 42
    slow = np.exp2(-(cycles[:, None] ** 2 + cycles**2) / 4**2)
    fast = logs - scipy.fft.ifft2(scipy.fft.fft2(logs) * slow).real
    contrast = np.sqrt(np.abs(scipy.fft.ifft2(scipy.fft.fft2(fast**2) * slow)))
    return (fast / (0.2 + contrast))[:, 5:-5, 5:-5]


def test_equals_plain_transforms_of_whole_images():
    """Filters cut to their frequencies, and transforms to the pixels that count, change
    nothing."""
    features = gist.describe(IMAGES).reshape(5, 32, 16)
    prefiltered = prefilter(IMAGES.mean(axis=3))
    padded = np.pad(prefiltered, ((0, 0), (32, 32), (32, 32)), "symmetric")
    spectra = scipy.fft.fft2(padded.astype(float))
    frequency = scipy.fft.fftfreq(96)
    radius = np.hypot(frequency[:, None], frequency)
    angle = np.angle(frequency + 1j * frequency[:, None])
    for scale in range(4):
        for orientation in range(8):
            turned = angle + np.pi / 8 * orientation
            turned = np.where(turned > np.pi, turned - 2 * np.pi, turned)
            transfer = np.exp(
                -10 * 0.35 * (radius / (0.3 / 1.85**scale) - 1) ** 2 - 2 * np.pi * turned**2
            )
            magnitude = np.abs(scipy.fft.ifft2(spectra * transfer))[:, 32:64, 32:64]
            means = magnitude.reshape(5, 4, 8, 4, 8).mean((2, 4)).reshape(5, 16)
            assert np.allclose(features[:, 8 * scale + orientation], means, atol=1e-6)


def test_light_does_not_matter_and_batches_neither(monkeypatch):
    half = IMAGES // 2 + 40  # darker, and with less contrast
    whole, dim = gist.describe(IMAGES), gist.describe(half)
    assert np.abs(whole - dim).max() < 0.05 * whole.max()
    monkeypatch.setattr(gist, "PIXELS", 2 * IMAGES.shape[1] ** 2)
    assert np.allclose(gist.describe(IMAGES), whole, atol=1e-6)
    assert whole.dtype == np.float32 and whole.shape == (5, 512)


def test_an_even_image_is_no_division_by_zero():
    assert not gist.describe(np.full((1, 32, 32, 3), 7, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 32, 30, 3), (1, 30, 30, 3), (32, 32, 3)])
def test_images_that_it_is_not_for(shape):
    with pytest.raises(UserError, match="GIST is of square images"):
        gist.describe(np.zeros(shape, np.uint8))
