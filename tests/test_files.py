import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imbalance_lens.files import made_folder, remove_drafts, replacing


def test_a_new_file_appears_under_its_name_and_nothing_else(tmp_path):
    with replacing(tmp_path / "a.txt") as draft:
        draft.write_text("new")
        assert list(tmp_path.iterdir()) == [draft]
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), RuntimeError("no")])
def test_after_an_error_the_old_file_is_as_it_was(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), replacing(path) as draft:  # noqa: PT012
        draft.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_names_the_file_and_what_to_do(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    told = rf"{path} could not be written \(No space left.*is unchanged. Free some space"
    with pytest.raises(OSError, match=told) as caught, replacing(path):
        raise OSError(28, "No space left on device")
    assert caught.value.errno == 28
    assert path.read_text() == "old"


def test_an_error_without_a_number_reads_well(tmp_path):
    with pytest.raises(OSError, match=r"could not be written \(torn\)") as caught:  # noqa: SIM117
        with replacing(tmp_path / "a.txt"):
            raise OSError("torn")
    assert "Errno" not in str(caught.value)


def test_a_really_full_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = f"""
        import resource, signal
        from imbalance_lens.files import replacing
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with replacing({str(path)!r}) as draft:
                draft.write_bytes(bytes(5000))
        except OSError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert "could not be written (File too large)" in done.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):  # noqa: SIM117
        with replacing(tmp_path):
            raise AssertionError("must not get here")
    with pytest.raises(FileNotFoundError, match="does not exist"):  # noqa: SIM117
        with replacing(tmp_path / "no" / "a.txt"):
            raise AssertionError("must not get here")


def test_a_pipe_is_left_alone(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="is a device or a pipe"), replacing(pipe):
        raise AssertionError("must not get here")
    assert pipe.is_fifo()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("old")
    with replacing(tmp_path / "link.txt") as draft:
        draft.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"


def test_permissions_follow_the_old_file_or_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "new.txt"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o640
    secret = tmp_path / "secret.txt"
    secret.write_text("old")
    secret.chmod(0o600)
    with replacing(secret) as draft:
        draft.write_text("new")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_very_long_name_is_written(tmp_path):
    path = tmp_path / ("n" * 255)
    with replacing(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"


def test_relative_paths_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing("a.txt") as draft:
        draft.write_text("new")
    assert Path("a.txt").read_text() == "new"


def test_a_folder_is_made_where_the_one_around_it_exists(tmp_path):
    folder = tmp_path / "run"
    assert made_folder(folder) == made_folder(folder) == folder.resolve()
    assert folder.is_dir()
    with pytest.raises(FileNotFoundError, match=r"The folder .*no does not exist. Make it first"):
        made_folder(tmp_path / "no" / "run")
    (tmp_path / "a.txt").touch()
    with pytest.raises(NotADirectoryError, match=r"a\.txt is a file"):
        made_folder(tmp_path / "a.txt")


def test_only_what_a_killed_process_left_of_a_draft_is_removed(tmp_path):
    code = f"""
        import os, signal
        from imbalance_lens.files import replacing
        with replacing({str(tmp_path / "a.txt")!r}):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode < 0
    (tmp_path / ".mine.part").touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".mine.part"]
