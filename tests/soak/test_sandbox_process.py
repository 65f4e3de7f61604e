"""The sandbox that soaks talk to in a process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from synthdub_tui.sandbox.config import SandboxConfig
from tests.soak.sandbox_process import SandboxProcess


def test_each_thread_gets_the_replies_to_its_own_requests(tmp_path: Path) -> None:
    service = SandboxProcess(SandboxConfig(), tmp_path / "sandbox")
    try:
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(service.send_command, ["assets", "uploads"] * 300))
        assert answers == [{}, []] * 300
    finally:
        service.close()
