"""The check of an export finds a file that is another model than it should be."""

import gguf
import numpy as np
import pytest

from hfllm.export.check import checked
from hfllm.export.gguf_tensors import rounder
from hfllm.export.source import open_source
from hfllm.modeling.gguf import read_gguf


def change(path, name, function):
    """Change the bytes of one tensor of a file."""
    found = next(t for t in gguf.GGUFReader(path, "r+").tensors if t.name == name)
    found.data[...] = function(np.array(found.data))


@pytest.mark.parametrize("dtype", ["f16", "q4_0"])
def test_rows_in_another_order_and_another_tensor_are_found(tmp_path, folder, export, dtype):
    path = tmp_path / "a.gguf"
    assert "read back" in export(folder, "gguf", path, "--dtype", dtype)
    change(path, "blk.0.attn_q.weight", lambda rows: rows[::-1])
    with open_source(str(folder)) as source:
        rounded = rounder(source.config, dtype)
        with pytest.raises(ValueError, match="a.gguf is another model: read back, its logits"):
            checked(source, path, dtype, rounded, lambda: read_gguf(path))


def test_without_memory_it_says_so(tmp_path, folder, export, monkeypatch):
    from hfllm.export import check

    memory = check.psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(check.psutil, "virtual_memory", lambda: memory)
    said = export(folder, "gguf", tmp_path / "a.gguf")
    assert "not checked: 0.0 GB of memory are needed" in said
