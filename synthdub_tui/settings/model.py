"""What can be set, and the defaults: plain frozen data."""

from __future__ import annotations

from typing import Final

import msgspec

from synthdub_tui.jobs.batch_options import BatchOptions

DEFAULT_API_URL: Final = "https://api.synthesia.io"

TIER_NAMES: Final = ("creator", "enterprise-2", "enterprise-1", "unlimited")


class QuotaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[quota]`: rate limits of an account that fits none of `TIER_NAMES`, as lists of [calls, seconds]."""

    writes: tuple[tuple[int, float], ...] = ()
    reads: tuple[tuple[int, float], ...] = ()


class DashboardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[dashboard]`: how the screen looks and behaves."""

    play_command: str = ""  # command that opens outputs; {} stands for the path
    notify: bool = False  # OSC 9 notifications in addition to the bell
    ssh_host: str = ""  # [user@]host in scp commands, if the address of the SSH connection is not the right one
    mouse: bool = True
    keys: dict[str, str] = {}  # binding id → keys


class BatchDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[batch]`: defaults of the batch options."""

    targets: tuple[str, ...] | None = None
    source_language: str | None = None
    title: str | None = None
    recursive: bool | None = None
    exclude: tuple[str, ...] | None = None
    include_hidden: bool | None = None
    follow_links: bool | None = None
    output_dir: str | None = None
    lipsync: bool | None = None
    video_duration: str | None = None
    visibility: str | None = None
    captions: bool | None = None


class SecretText(str):
    """Text whose repr hides it, so that logs and tracebacks do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. Times are in seconds. `warnings` are lines for the user that stop nothing."""

    api_key: str = ""
    key_override: str = ""  # the flag or variable that gave the key and takes precedence over a key in the file
    api_url: str = DEFAULT_API_URL
    s3_endpoint_url: str = ""
    state_dir: str = ""
    data_dir: str = ""  # receipts of paid requests, which outlive every state directory
    config_path: str = ""
    poll_interval: float = 10.0
    tier: str = "creator"
    max_uploads: int = 3
    max_downloads: int = 4
    settle_seconds: float = 10.0  # for which a file found in a folder must not have changed; 0: no wait
    quota: QuotaSettings = QuotaSettings()
    dashboard: DashboardSettings = DashboardSettings()
    batch: BatchOptions = BatchOptions()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Settings(api_url={self.api_url!r}, state_dir={self.state_dir!r}, tier={self.tier!r})"
