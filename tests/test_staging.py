import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrs_necrosis.staging import staged, sweep, write_atomically


def no_room(descriptor):
    raise OSError(28, "No space left on device")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    target = tmp_path / "result.json"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", no_room)

    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_write_leaves_the_old_file_or_the_new_one(tmp_path):
    target = tmp_path / "result.json"
    contents = [b"a" * 400_000, b"b" * 400_000]
    target.write_bytes(contents[0])
    code = (
        "import itertools, sys; from pathlib import Path; "
        "from mrs_necrosis.staging import write_atomically; "
        "print('ready', flush=True); "
        "[write_atomically(Path(sys.argv[1]), bytes([97 + i % 2]) * 400_000) "
        "for i in itertools.count()]"
    )

    for delay in (0.01, 0.023, 0.037):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True
        )
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.wait()
        writer.stdout.close()

        assert target.read_bytes() in contents


def test_a_staged_file_that_is_not_moved_is_removed(tmp_path):
    with staged(tmp_path / "result.json", b"new") as temporary:
        assert temporary.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [temporary]

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_of_a_file_is_swept_and_nothing_else(tmp_path):
    target = tmp_path / "result.json"
    with staged(target, b"new") as temporary:
        left = temporary.name
    others = {
        "result.json",
        ".result.json.mine",
        ".ratios.tsv" + left.removeprefix(f".{target.name}"),
    }
    for name in {left, *others}:
        (tmp_path / name).write_bytes(b"old")

    sweep(target)

    assert {path.name for path in tmp_path.iterdir()} == others


def test_a_folder_is_swept_in_one_go_however_many_files_go_there(tmp_path, monkeypatch):
    targets = [tmp_path / folder / f"{n}.json" for folder in ("maps", "figures") for n in range(9)]
    listed, list_folder = [], Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: listed.append(path) or list_folder(path))

    sweep(*targets)

    assert sorted(listed) == [tmp_path / "figures", tmp_path / "maps"]


@pytest.mark.skipif(os.name == "nt", reason="files have no such mode there")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_is_as_private_as_the_user_wants_new_files_to_be(tmp_path, mask):
    before = os.umask(mask)
    try:
        path = write_atomically(tmp_path / "result.json", b"new")
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
