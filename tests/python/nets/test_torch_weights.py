"""PyTorch's state files: what they have comes back, and nothing else runs."""

from collections import OrderedDict

import numpy as np
import pytest

from dnnh.errors import UserError
from dnnh.nets import torch_weights
from torch_files import START, Call, Global, Persistent, dump, storage, tensor

FLOATS = np.arange(6, dtype="<f4")


def test_tensors_come_back(tmp_path):
    """In any order of axes, two on one storage, and whole numbers."""
    tensors = OrderedDict(
        rows=tensor("1", 0, (2, 3), (3, 1)),
        columns=tensor("1", 1, (3, 1), (1, 3)),
        transposed=tensor("1", 0, (3, 2), (1, 3)),
        count=tensor("2", 0, (), (), "LongStorage", 1),
    )
    (tmp_path / "x.pth").write_bytes(
        dump(*START, tensors, ["1", "2"], storage(FLOATS), storage(np.array([7], "<i8")))
    )
    found = torch_weights.read(tmp_path / "x.pth")
    assert list(found) == ["rows", "columns", "transposed", "count"]
    assert found["rows"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["columns"].tolist() == [[1], [2], [3]]
    assert found["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["count"] == 7 and found["count"].dtype == np.int64
    assert found["rows"].dtype == np.float32


ONE = {"x": tensor("1", 0, (6,), (1,))}


@pytest.mark.parametrize(
    "data, message",
    [
        (b"PK\x03\x04 a newer one", "is not a state file"),
        (b"", "is not a state file"),
        (dump(1, 2, 3), "it has another format"),
        (dump(*START, ONE, ["1"], storage(FLOATS)[:-1]), "it is truncated"),
        (dump(*START, ONE, ["1"], b"\xff" * 8 + b"x"), "it is truncated"),
        (dump(*START, ONE, ["1"]), "it is truncated"),
        (dump(*START, b"\x80\x02}r\x00\x00\x00\x70."), "names place 1,879,048,192 of its memo"),
        (
            dump(*START, {"x": Global("os", "system")}),
            "asks for os.system, which a file of tensors",
        ),
        (dump(*START, {"x": Call(Global("builtins", "eval"), ("1",))}), "asks for builtins.eval"),
        (
            dump(*START, {"x": tensor("1", 0, (7,), (1,))}, ["1"], storage(FLOATS)),
            "a tensor is larger than its values",
        ),
        (
            dump(*START, {"x": tensor("1", 3, (2, 2), (2, 1))}, ["1"], storage(FLOATS)),
            "a tensor is larger than its values",
        ),
        (
            dump(*START, {"x": tensor("1", 0, (1 << 40, 2), (0, 0))}, ["1"], storage(FLOATS)),
            "a tensor is larger than its values",
        ),
        (
            dump(*START, {"x": tensor("1", -2, (2,), (1,))}, ["1"], storage(FLOATS)),
            "a tensor is larger than its values",
        ),
        (
            dump(*START, {"x": Persistent(("module", "a", "b", "c", "d", "e"))}),
            "it has something else than tensors",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, data, message):
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(UserError, match=message):
        torch_weights.read(tmp_path / "x.pth")
