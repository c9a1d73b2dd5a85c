"""Locks of files and devices: one owner on a machine, whoever it is and however it names the thing."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from eapu_hil.base import locks
from eapu_hil.base.errors import ConfigError
from eapu_hil.base.locks import InUseError, device_name, network_name, own

NOBODY = 65534


@contextmanager
def another(place: Path | str, user: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns `place`."""
    made = f"Path({str(place)!r})" if isinstance(place, Path) else repr(place)
    script = f"""
        import os
        from pathlib import Path
        from eapu_hil.base.locks import own
        {"" if user is None else f"os.setgroups([]); os.setgid({user}); os.setuid({user})"}
        os.umask(0o077)
        with own({made}, "thing"):
            print("owned", flush=True)
            input()
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def name() -> str:
    return f"a thing of test {os.getpid()}"


@pytest.mark.parametrize("kind", ["file", "device"])
def test_the_owner_is_named(tmp_path: Path, name: str, kind: str) -> None:
    place = tmp_path / "thing.lock" if kind == "file" else name
    with another(place) as other:
        with pytest.raises(InUseError) as refused, own(place, "thing"):
            pass
        assert str(refused.value) == (
            f"thing: in use by process {other.pid}; allowed is one at a time: end that process first"
        )
    with own(place, "thing"):  # the lock of a process that was killed is taken over
        pass


def test_a_second_owner_in_one_process_is_refused(tmp_path: Path) -> None:
    with (
        own(tmp_path / "lock", "thing"),
        pytest.raises(InUseError, match=f"process {os.getpid()}; .*this program has it open already"),
        own(tmp_path / "lock", "thing"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []  # nothing is left of a lock that was given up


def test_an_owner_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "lock"
    with another(place) as other:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        with own(place, "thing", within_s=60.0):
            assert place.read_text() == f"{os.getpid()}\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_neither_keeps_nor_gives_up_the_lock(tmp_path: Path) -> None:
    place = tmp_path / "lock"
    with own(place, "thing"):
        child = os.fork()
        if child == 0:
            with ExitStack() as stack:  # the child leaves through the block of its parent
                stack.callback(os._exit, 0)
                raise SystemExit
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(InUseError), own(place, "thing"):
            pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes another user")
class TestOtherUsers:
    def test_refuse_while_one_has_it(self, name: str) -> None:
        with another(name, NOBODY) as other:
            refused = pytest.raises(InUseError, match=f"process {other.pid};")
            with refused, own(name, "thing"):
                pass

    def test_take_over_what_a_dead_process_of_another_left(self, name: str) -> None:
        with another(name):  # killed: its file, made under umask 077, stays
            pass
        with another(name, NOBODY) as other:
            refused = pytest.raises(InUseError, match=f"process {other.pid};")
            with refused, own(name, "thing"):
                pass
        with own(name, "thing"):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
class TestPlantedFiles:
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "locks").mkdir()
        (tmp_path / "locks").chmod(0o1777)
        monkeypatch.setattr(locks, "_SYSTEM_DIRECTORIES", [str(tmp_path / "absent"), str(tmp_path / "locks")])

    @pytest.mark.parametrize("plant", [os.symlink, os.link], ids=["symbolic link", "hard link"])
    def test_a_link_is_not_followed(
        self, tmp_path: Path, name: str, plant: Callable[[str, str], None]
    ) -> None:
        precious = tmp_path / "thesis.tex"
        precious.write_text("the work of years")
        with own(name, "thing"):
            (lock,) = (tmp_path / "locks").iterdir()
        plant(str(precious), str(lock))
        with pytest.raises(ConfigError, match="not a plain file"), own(name, "thing"):
            pass
        assert precious.read_text() == "the work of years"

    def test_a_pipe_does_not_hold_up(self, tmp_path: Path, name: str) -> None:
        with own(name, "thing"):
            (lock,) = (tmp_path / "locks").iterdir()
        os.mkfifo(lock)
        with pytest.raises(ConfigError, match="not a plain file"), own(name, "thing"):
            pass

    def test_without_a_directory_for_all_users_it_says_so(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "locks").chmod(0o755)
        with pytest.raises(ConfigError, match="neither is a directory of mode 1777"), own(name, "thing"):
            pass


def test_names_of_one_port(tmp_path: Path) -> None:
    (tmp_path / "ttyACM0").write_text("")
    if sys.platform != "win32":
        (tmp_path / "by-id").symlink_to(tmp_path / "ttyACM0")
        assert device_name(str(tmp_path / "by-id")) == device_name(str(tmp_path / "ttyACM0"))
    assert device_name("com3") == device_name(r"\\.\COM3") == "COM3"


def test_names_of_one_address() -> None:
    assert network_name("localhost", 5025) == network_name("127.0.0.1", "5025") == "127.0.0.1:5025"
    assert network_name("[FE80::0:1]", 1) == network_name("fe80::1", 1)
    assert network_name("no.such.host.invalid", 1) == "no.such.host.invalid:1"
