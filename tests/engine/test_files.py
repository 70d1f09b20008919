"""Files in a local folder and the format of tensors in them."""

import pytest
import torch

from engine.files import LocalFiles, pack, unpack


def test_what_is_written_is_read_and_replaced(tmp_path):
    files = LocalFiles(tmp_path / "new")
    assert files.read("a/b.bin") is None
    files.write("a/b.bin", b"one")
    files.write("a/b.bin", b"two")
    assert files.read("a/b.bin") == b"two"


def test_writing_leaves_no_temporary_file(tmp_path):
    LocalFiles(tmp_path).write("a.bin", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    files = LocalFiles(tmp_path)
    files.write("a.bin", b"old")

    def fail(source: object, target: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        files.write("a.bin", b"new")
    assert files.read("a.bin") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_tensors_and_metadata_come_back_and_the_bytes_are_always_the_same():
    tensors = {"b": torch.arange(6).reshape(2, 3).T, "a": torch.tensor(1.5)}
    metadata = {"z": 1, "y": ["text", None]}
    data = pack(tensors, metadata)
    again, read = unpack(data)
    assert read == metadata
    assert again["b"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert float(again["a"]) == 1.5
    assert pack(dict(reversed(tensors.items())), dict(reversed(metadata.items()))) == data
