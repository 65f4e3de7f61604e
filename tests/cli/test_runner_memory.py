"""What a runner's process keeps of the memory that it gave back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import MakeShell, until
from tests.waiting import wait_for_exit

ARENA_BYTES = 64 * 1024 * 1024
"""Room that glibc reserves for an arena, at an address that is a multiple of it, where pointers have 64 bits."""

IS_GLIBC_64_BIT = "CS_GNU_LIBC_VERSION" in os.confstr_names and sys.maxsize > 2**32

BUSY_THREADS_PROGRAM = """
import threading
done = threading.Barrier(9)
for _ in range(8):
    threading.Thread(target=lambda: (bytearray(5000), done.wait()), daemon=True).start()
done.wait()
print("allocated", flush=True)
input()
"""


def count_arenas(pid: int) -> int:
    """Arenas of a process besides the main one: each begins with what is in use of its room, followed by what is not."""
    maps = [re.match(r"(\w+)-(\w+) (\S+) 0+ 00:00 0 *$", line) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    plain = [(int(found[1], 16), int(found[2], 16), found[3]) for found in maps if found]
    ends = {start: end for start, end, kind in plain if kind == "---p"}
    return sum(
        kind == "rw-p" and start % ARENA_BYTES == 0 and ends.get(end) == start + ARENA_BYTES for start, end, kind in plain
    )


def count_threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.skipif(not IS_GLIBC_64_BIT, reason="only glibc gives threads arenas of their own")
def test_threads_have_their_own_arenas_by_default() -> None:
    command = [sys.executable, "-c", BUSY_THREADS_PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"allocated\n"
        assert count_arenas(process.pid) > 1


@pytest.mark.parametrize("command", ["run", "runner"])
def test_the_threads_of_a_runner_share_one_arena(make_shell: MakeShell, command: str) -> None:
    """Each other one would keep, for good, what an upload left in it."""
    shell = make_shell(dubbing_seconds=(600, 600))
    paths = [str(shell.write_video(f"{number}.mp4", 20_000)) for number in range(6)]
    process = shell.start_command("run", *paths, "--targets", "fr-FR,de-DE", "--tier", "unlimited")
    posted = lambda: sum(record.endpoint == "POST /v2/dubbing" for record in shell.sandbox.journal)  # noqa: E731
    until(lambda: posted() == len(paths))
    if command == "runner":
        shell.run_command("stop")
        assert wait_for_exit(process) == 130
        process = shell.start_command("runner", "--state-dir", str(shell.state))
        until(lambda: shell.run_command("status", "--json").json["runner"])
    assert count_threads(process.pid) > 2
    assert count_arenas(process.pid) == 0
