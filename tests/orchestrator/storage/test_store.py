"""The store never shows half a file, never leaves its root, and trusts only DONE.json."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyarrow import fs

from engine.records.units import CellDone
from orchestrator.errors import UsageError
from orchestrator.storage.store import DONE, FAILED, Folder, Store, mark_done, mark_failed

MOCK_TIME = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(params=["local", "subtree", "object store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder on a local path, on a wrapped local filesystem, and on one that is not local at all."""
    filesystems = {
        "local": lambda: Folder(fs.LocalFileSystem(), str(tmp_path / "runs")),
        "subtree": lambda: Folder(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "runs"),
        "object store": lambda: Folder(fs._MockFileSystem(MOCK_TIME), "bucket/runs"),
    }
    made: Folder = filesystems[request.param]()
    return made


def test_what_is_written_is_read(folder: Folder) -> None:
    folder.write("a/b.bin", b"\x00one")
    folder.write_json("c.json", {"x": [1, 2.5, None]})
    assert (folder.read("a/b.bin"), folder.read_json("c.json")) == (b"\x00one", {"x": [1, 2.5, None]})
    assert folder.exists("a/b.bin")
    assert not folder.exists("a")  # a folder is no file


def test_writing_again_replaces_the_whole_file(folder: Folder) -> None:
    folder.write("a", b"a longer first version")
    folder.write("a", b"short")
    assert folder.read("a") == b"short"


def test_what_is_absent_reads_as_none(folder: Folder) -> None:
    assert (folder.read("a/b"), folder.read_json("a/b.json"), folder.exists("a/b")) == (None, None, False)
    assert folder.folders() == []
    folder.delete("a/b")
    folder.delete_folder("a")


def test_lines_are_appended(folder: Folder) -> None:
    for line in ("one", "two", "drei é"):
        folder.append("log.jsonl", line)
    assert (folder.read("log.jsonl") or b"").decode() == "one\ntwo\ndrei é\n"


def test_folders_are_listed_and_deleted(folder: Folder) -> None:
    for name in ("b/x", "a/x", "a/y/z", "file"):
        folder.write(name, b"1")
    assert folder.folders() == ["a", "b"]
    folder.delete_folder("a")
    folder.delete("file")
    assert (folder.folders(), folder.read("a/y/z"), folder.exists("file")) == (["b"], None, False)


def test_a_subfolder_is_seen_from_above(folder: Folder) -> None:
    folder.subfolder("a/b").write("c", b"1")
    assert folder.read("a/b/c") == b"1"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/..", "/etc/passwd", "", ".", ".."])
def test_no_path_leaves_the_folder(folder: Folder, name: str) -> None:
    for use in (folder.read, folder.exists, folder.delete, folder.delete_folder, folder.subfolder):
        with pytest.raises(ValueError, match="is not a path inside the store"):
            use(name)
    with pytest.raises(ValueError, match="is not a path inside the store"):
        folder.write(name, b"")
    with pytest.raises(ValueError, match="is not a path inside the store"):
        folder.append(name, "line")


def test_numbers_that_json_lacks_are_refused(folder: Folder) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("a.json", {"value": float("inf")})
    assert not folder.exists("a.json")


def test_a_unit_counts_as_finished_by_its_done_file_alone(folder: Folder) -> None:
    store = Store("anywhere", folder)
    store.cell("a").write_json("cell.json", {"metrics": {}})
    store.cell("b").write_json(DONE, {})
    files = [f"cells/{name}/{DONE}" for name in "abc"]
    assert store.finished(files) == {f"cells/b/{DONE}"}
    assert store.finished([]) == set()


def test_success_forgets_an_earlier_failure(folder: Folder) -> None:
    mark_failed(folder, "out of memory")
    assert folder.read_json(FAILED)["message"] == "out of memory"
    assert not folder.exists(DONE)
    mark_done(folder, CellDone(cell_id="a", seconds=1.5))
    assert not folder.exists(FAILED)
    record = folder.read_json(DONE)
    assert record["seconds"] == 1.5
    assert datetime.fromisoformat(record["finished"]).tzinfo is not None


# On a local path.


class Killed(BaseException):
    """Stands for a process that ends at once."""


class Breaking(fs.LocalFileSystem):  # type: ignore[misc]
    """A local filesystem whose process is killed before the rename."""

    def move(self, source: str, target: str) -> None:
        raise Killed


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    folder = Folder(fs.LocalFileSystem(), str(tmp_path))
    folder.write("DONE.json", b"old")
    for _ in range(2):
        with pytest.raises(Killed):
            Folder(Breaking(), str(tmp_path)).write("DONE.json", b"new")
    assert folder.read("DONE.json") == b"old"
    leftovers = [path.name for path in tmp_path.iterdir() if path.name != "DONE.json"]
    assert len(leftovers) == 2, (
        "process numbers repeat on the machines of a cluster, so every write needs a name"
    )
    assert not any(name.endswith(".json") for name in leftovers)


def test_a_first_write_that_breaks_off_leaves_nothing_that_counts(tmp_path: Path) -> None:
    store = Store("anywhere", Folder(Breaking(), str(tmp_path)))
    with pytest.raises(Killed):
        mark_done(store.cell("a"), CellDone(cell_id="a", seconds=1.5))
    assert store.finished([f"cells/a/{DONE}"]) == set()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Two writers replace a file of 1 MB by one of 1 byte and back while it is read."""
    folder = Store.open(tmp_path).root
    versions = {b"x" * 1_000_000, b"y"}
    folder.write("a", b"y")
    writers = [
        threading.Thread(target=lambda data=data: [folder.write("a", data) for _ in range(40)])
        for data in versions
    ]
    seen = set()
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.add(folder.read("a"))
    for writer in writers:
        writer.join()
    assert seen <= versions
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# Opening.


def test_a_path_is_made_absolute_and_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store.open("runs").local_path == tmp_path / "runs"
    assert Store.open("~/runs").uri == str(tmp_path / "runs")
    assert Store.open((tmp_path / "runs").as_uri() + "/").local_path == tmp_path / "runs"
    assert not (tmp_path / "runs").exists()  # opening writes nothing


def test_a_filesystem_that_is_not_local_has_no_local_path() -> None:
    assert Store("mock", Folder(fs._MockFileSystem(MOCK_TIME), "bucket")).local_path is None


@pytest.mark.parametrize("location", ["nonsense://bucket/path", "s3://", "://", "file://host/no/such"])
def test_what_is_no_storage_is_a_usage_error(location: str) -> None:
    with pytest.raises(UsageError, match=r"cannot use '.*' as storage"):
        Store.open(location)


def test_a_file_is_no_storage(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    for place in (tmp_path / "runs", tmp_path / "runs" / "below" / "it"):
        with pytest.raises(UsageError, match=f"as storage: {tmp_path}/runs is a file"):
            Store.open(place)


def test_credentials_of_a_storage_are_not_shown() -> None:
    folder = Folder(fs._MockFileSystem(MOCK_TIME), "bucket")
    assert Store("s3://me:pass/word@host/bucket", folder).shown == "s3://***@host/bucket"
    with pytest.raises(UsageError) as caught:
        Store.open("nonsense://me:password@host")
    assert "password" not in str(caught.value)
