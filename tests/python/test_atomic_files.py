"""Files that are written atomically, whoever else writes."""

import multiprocessing
import os
import shutil

import h5py
import pytest

from dnnh import atomic_files
from dnnh.errors import UserError


def test_a_file_appears_whole(tmp_path):
    with atomic_files.write_atomically(tmp_path / "new" / "a") as partial:
        partial.write_text("half")
        assert not (tmp_path / "new/a").exists()
    assert (tmp_path / "new/a").read_text() == "half"
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_files.write_atomically(tmp_path / "a") as partial:
        partial.write_text("new")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def killed(path):
    with atomic_files.write_atomically(path) as partial:
        partial.mkdir()
        os._exit(9)


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=killed, args=(tmp_path / "a",))
    process.start()
    process.join()
    (leftover,) = tmp_path.iterdir()
    linked = tmp_path / f"{atomic_files.PARTIAL}linked"
    linked.symlink_to(tmp_path)
    running = tmp_path / f"{atomic_files.PARTIAL}running"
    running.mkdir()
    (running / atomic_files.CLAIM).touch()
    with (
        atomic_files._claimed(running),
        atomic_files.write_atomically(tmp_path / "a") as partial,
    ):
        partial.write_text("x")
    assert not leftover.exists()
    assert sorted(tmp_path.iterdir()) == sorted([linked, running, tmp_path / "a"])


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def without(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(atomic_files.fcntl, "flock", without)
    other = tmp_path / f"{atomic_files.PARTIAL}other"
    other.mkdir()
    (other / atomic_files.CLAIM).touch()
    with atomic_files.write_atomically(tmp_path / "a") as partial:
        partial.write_text("x")
    with atomic_files.write_files_atomically(tmp_path) as partial:
        (partial / "b").write_text("y")
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "a", tmp_path / "b"]


def test_a_closed_pipe_is_no_full_disk(tmp_path):
    with pytest.raises(BrokenPipeError), atomic_files.write_atomically(tmp_path / "a"):
        raise BrokenPipeError(32, "Broken pipe")


def test_what_was_killed_between_two_renames_comes_back(tmp_path):
    old = tmp_path / f"{atomic_files.PARTIAL}killed/a{atomic_files.OLD}"
    old.mkdir(parents=True)
    (old.parent / atomic_files.CLAIM).touch()
    (old / "kept").write_text("kept")
    with pytest.raises(RuntimeError), atomic_files.write_atomically(tmp_path / "a"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a/kept").read_text() == "kept"
    # Where there is a newer one, the old one goes.
    shutil.copytree(tmp_path / "a", old)
    (old.parent / atomic_files.CLAIM).touch()
    with atomic_files.write_atomically(tmp_path / "a") as partial:
        partial.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    for name in ("killed", "killed at once", "running"):
        (tmp_path / f"{atomic_files.PARTIAL}{name}").mkdir()
        if name != "killed at once":
            (tmp_path / f"{atomic_files.PARTIAL}{name}" / atomic_files.CLAIM).touch()
    with (
        atomic_files._claimed(tmp_path / f"{atomic_files.PARTIAL}running"),
        atomic_files.write_files_atomically(tmp_path) as partial,
    ):
        pass
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{atomic_files.PARTIAL}running", "a"]


def write_folder(path, name, meet):
    with atomic_files.write_atomically(path) as partial:
        partial.mkdir()
        meet.wait()
        (partial / name).write_text(name)
        (partial / "who").write_text(name)
        meet.wait()
        if name == "second":
            meet.wait()
    if name == "first":
        meet.wait()


def test_two_writers_do_not_mix(tmp_path):
    context = multiprocessing.get_context("fork")
    meet = context.Barrier(2)
    processes = [
        context.Process(target=write_folder, args=(tmp_path / "db", name, meet))
        for name in ("first", "second")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(p.name for p in (tmp_path / "db").iterdir()) == ["second", "who"]
    assert (tmp_path / "db/who").read_text() == "second"


@pytest.mark.parametrize(
    "path, message", [("/", "not a place to write"), ("/dev/null", "is a device or a pipe")]
)
def test_no_file(path, message):
    with pytest.raises(UserError, match=message), atomic_files.write_atomically(path):
        pass


def test_hdf5_files_are_written_at_the_end(tmp_path):
    with pytest.raises(RuntimeError), atomic_files.write_hdf5_atomically(tmp_path / "a") as file:
        file["x"] = 1
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with atomic_files.write_hdf5_atomically(tmp_path / "a") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "a") as file:
        assert file["x"][()] == 1


def test_large_hdf5_files_need_room_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files, "MAX_IN_MEMORY", 10)
    monkeypatch.setattr(
        atomic_files.shutil, "disk_usage", lambda path: type("usage", (), {"free": 10**9})
    )
    with (
        pytest.raises(
            UserError, match="a needs about 1,010.00 MB and the disk has 1,000.00 MB free"
        ),
        atomic_files.write_hdf5_atomically(tmp_path / "a", 10**9),
    ):
        pytest.fail("nothing may be written")
    with (
        pytest.raises(RuntimeError),
        atomic_files.write_hdf5_atomically(tmp_path / "a", 11) as file,
    ):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with atomic_files.write_hdf5_atomically(tmp_path / "a", 11) as file:
        file["x"] = 1
    with h5py.File(tmp_path / "a") as file:
        assert file["x"][()] == 1


def test_files_move_together(tmp_path):
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_files.write_files_atomically(tmp_path) as partial:
        (partial / "a").write_text("new")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old"
    with atomic_files.write_files_atomically(tmp_path) as partial:
        (partial / "a").write_text("new")
        (partial / "b").write_text("new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "kept": "kept",
        "a": "new",
        "b": "new",
    }


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").touch()
    replace = os.replace

    def full(source, target):
        if atomic_files.PARTIAL in str(source) and str(source).endswith("/folder"):
            raise OSError(28, "no space")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(atomic_files, "_exchange", lambda *paths: False)
    with (
        pytest.raises(UserError, match="folder could not be written .no space"),
        atomic_files.write_atomically(tmp_path / "folder") as partial,
    ):
        partial.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "old"]


def test_another_writer_comes_between_two_renames(tmp_path, monkeypatch):
    for place in ("folder", "other"):
        (tmp_path / place).mkdir()
        (tmp_path / place / place).touch()
    replace = os.replace

    def interfering(source, target):
        replace(source, target)
        if (tmp_path / "other").exists():
            (tmp_path / "other").rename(tmp_path / "folder")

    monkeypatch.setattr(os, "replace", interfering)
    monkeypatch.setattr(atomic_files, "_exchange", lambda *paths: False)
    with atomic_files.write_atomically(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "new"]


def test_what_is_read_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atomic_files.refuse_overwriting(["a", None], ["b", None])
    with pytest.raises(UserError, match="^x/../a would be written over what is read"):
        atomic_files.refuse_overwriting([None, "x/../a"], ["b", tmp_path / "a"])


# --- killed at every step -----------------------------------------------------------------


def test_a_folder_is_exchanged_at_once(tmp_path, monkeypatch):
    """At no moment is there no folder of that name."""
    replaced = []
    monkeypatch.setattr(os, "replace", lambda *paths: replaced.append(paths))
    (tmp_path / "db").mkdir()
    (tmp_path / "db/old").touch()
    with atomic_files.write_atomically(tmp_path / "db") as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["db", "new"]
    assert not replaced


def write_often(path, name, times):
    for _ in range(times):
        with atomic_files.write_atomically(path) as partial:
            partial.mkdir()
            (partial / name).write_text(name)
        with atomic_files.write_files_atomically(path.parent) as partial:
            (partial / "a").write_text(name)
            (partial / "b").write_text(name)


def test_writers_in_a_loop(tmp_path):
    """They may create the folder, or find it, at any moment."""
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=write_often, args=(tmp_path / "db", name, 100))
        for name in ("first", "second", "third", "fourth")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    (only,) = (tmp_path / "db").iterdir()
    assert only.read_text() == only.name
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "db"]


def stop_while_moving(folder, moves):
    """Replace three files together; end the process after some of the moves."""
    replace = os.replace

    def counted(source, target):
        nonlocal moves
        if moves == 0:
            os._exit(9)
        moves -= 1
        replace(source, target)

    os.replace = counted
    with atomic_files.write_files_atomically(folder, obsolete=["plot"]) as partial:
        for name in ("codes", "page", "result"):
            (partial / name).write_text("new")


@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_files_move_together_though_killed(tmp_path, moves):
    for name in ("codes", "kept", "page", "plot", "result"):
        (tmp_path / name).write_text("old")
    process = multiprocessing.get_context("fork").Process(
        target=stop_while_moving, args=(tmp_path, moves)
    )
    process.start()
    process.join()
    atomic_files.complete(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "codes": "new",
        "kept": "old",
        "page": "new",
        "result": "new",
    }


def test_the_next_writer_completes_the_moves_first(tmp_path):
    """Or what was committed before would replace what it writes."""
    (tmp_path / "codes").write_text("old")
    process = multiprocessing.get_context("fork").Process(
        target=stop_while_moving, args=(tmp_path, 1)
    )
    process.start()
    process.join()
    with atomic_files.write_files_atomically(tmp_path) as partial:
        (partial / "page").write_text("newest")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "codes": "new",
        "page": "newest",
        "result": "new",
    }


def test_older_files_do_not_come_after_newer_ones(tmp_path):
    """Of a writer that is killed while it moves them and another one is writing."""
    process = multiprocessing.get_context("fork").Process(
        target=stop_while_moving, args=(tmp_path, 1)
    )
    with atomic_files.write_files_atomically(tmp_path) as partial:
        process.start()
        process.join()
        for name in ("codes", "result"):
            (partial / name).write_text("newest")
    atomic_files.complete(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "codes": "newest",
        "page": "new",
        "result": "newest",
    }


def test_obsolete_files_that_are_written_stay(tmp_path):
    (tmp_path / "plot").write_text("old")
    with atomic_files.write_files_atomically(tmp_path, obsolete=["plot", "none"]) as partial:
        (partial / "plot").write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"plot": "new"}


# --- messages -----------------------------------------------------------------------------


def test_errors_of_the_system_name_the_file(tmp_path):
    with (
        pytest.raises(UserError, match="/a could not be written .No space left on device.; noth"),
        atomic_files.write_atomically(tmp_path / "a"),
    ):
        raise OSError(28, "No space left on device")
    with (
        pytest.raises(UserError, match="/a could not be written .Is a directory"),
        atomic_files.write_atomically(tmp_path / "a") as partial,
    ):
        partial.mkdir()
        partial.write_text("x")
    # Errors of what is read meanwhile are not about this file.
    with (
        pytest.raises(FileNotFoundError, match="elsewhere"),
        atomic_files.write_atomically(tmp_path / "a"),
    ):
        (tmp_path / "elsewhere").read_text()
    assert not list(tmp_path.iterdir())


def test_links_in_a_circle(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for write in (atomic_files.write_atomically, atomic_files.write_files_atomically):
        for path in (tmp_path / "loop", tmp_path / "loop/file"):
            with (
                pytest.raises(UserError, match="is a link that leads back to itself"),
                write(path),
            ):
                pytest.fail("nothing may be written")
    with pytest.raises(UserError, match="loop is a link"):
        atomic_files.refuse_overwriting([tmp_path / "loop"], [tmp_path / "a"])


def test_names_that_are_too_long(tmp_path):
    with (
        pytest.raises(UserError, match="could not be written .File name too long"),
        atomic_files.write_atomically(tmp_path / ("a" * 300)),
    ):
        pytest.fail("nothing may be written")


def test_two_outputs_of_one_name(tmp_path):
    with pytest.raises(UserError, match="is named for two outputs"):
        atomic_files.refuse_overwriting([tmp_path / "x", None, tmp_path / "." / "x"], [])
