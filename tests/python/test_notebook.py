"""The notebook runs, and is committed without outputs."""

import pytest

from dnnh import paths

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
PATH = paths.ROOT / "examples/search_your_images.ipynb"


def read():
    return nbformat.read(PATH, as_version=4)


def test_it_runs_from_top_to_bottom(tmp_path):
    notebook = read()
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "168 images, 48 bits each" in text
    pictures = [
        output
        for output in outputs
        if output.output_type == "display_data" and "image/png" in output.data
    ]
    assert len(pictures) == 2
    # Crops of one picture are nearer to each other than to those of others.
    same, different = text.rpartition("mean distance: ")[2].split(" bits with the same label, ")
    assert float(same) < 0.75 * float(different.split()[0])


def test_outputs_are_stripped():
    for cell in read().cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
