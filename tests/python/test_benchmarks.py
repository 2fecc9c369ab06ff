"""What the speed tables are made with: each program runs, on the nets as they are now."""

import importlib.util
import sys

import numpy as np
import pytest

from dnnh import nets, paths
from dnnh.errors import UserError

sys.path.append(str(paths.ROOT / "benchmarks"))        # for what they share


def benchmark(name):
    """A benchmark as a module; a tool may have the same name."""
    spec = importlib.util.spec_from_file_location(
        f"benchmark_{name}", paths.ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


collages, search, steps = map(benchmark, ("collages", "search", "steps"))


@pytest.mark.parametrize("name", sorted(steps.NETS))
def test_a_step_and_coding_in_caffe(name):
    spec = nets.net_spec(*steps.NETS[name])
    net = steps.CaffeNet(spec, 2)
    forward, step = net.step()
    assert 0 < forward < step
    blobs = net.net.blobs
    assert blobs["images"].shape[0] == 6 and np.isfinite(blobs["loss"].data)
    for place, member in enumerate(("query", "similar", "dissimilar")):
        assert (blobs[member].data == blobs["codes"].data[2 * place:2 * place + 2]).all()
    assert {"pixels", "conv1", "loss"} <= set(net.layers(1))
    net.prepare_coding()
    assert net.code() > 0 and list(net.net.blobs[net.net.outputs[0]].shape) == [6, 48]


@pytest.mark.parametrize("name", sorted(steps.NETS))
def test_pytorchs_net_has_the_same_weights(name, monkeypatch):
    pytest.importorskip("torch")
    spec = nets.net_spec(*steps.NETS[name])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")         # as figures.in_child does
    ours, theirs = steps.CaffeNet(spec, 2), steps.TorchNet(spec, 2)

    def sizes(shapes):
        return sorted(shape for shape in shapes if len(shape) == 4)
    assert sizes(tuple(weights.shape) for weights in theirs.net.parameters()) == sizes(
        tuple(blob.shape) for blobs in ours.net.params.values() for blob in blobs)
    assert all(seconds > 0 for seconds in theirs.step())
    theirs.prepare_coding()
    assert theirs.code() > 0


def test_drawing_codes_is_no_time_of_an_engines(monkeypatch):
    clock = iter(np.arange(1000.0))

    def generate(count, bits, seed):
        for _ in range(3):
            next(clock)                                           # a second each
            yield np.zeros((count, bits // 8), np.uint8)
    monkeypatch.setattr(search, "generate", generate)
    monkeypatch.setattr(search.time, "perf_counter", lambda: next(clock))
    arguments = type("Arguments", (), {"bits": 48, "codes": 10, "lists": 1})
    with search.made("numpy", arguments) as (index, seconds, _):
        # Two readings of the clock for each of three blocks, and for the first search.
        assert len(index) == 30 and seconds == 4


def test_collages_replace_nothing(tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr(sys, "argv", ["collages.py", "--output", str(tmp_path)])
    with pytest.raises(UserError, match="is there already; name a new folder"):
        collages.main()
    assert (tmp_path / "thesis.tex").exists()
