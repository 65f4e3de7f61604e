"""Decides which names below a named folder are skipped. Pure.

Network storage, file sharing, backup and recording programs keep deleted, older, smaller or incomplete copies of videos among
the originals. Each copy that is dubbed is paid for, so the names that such programs reserve are skipped. Plain words that a
person may give to a folder are not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from synthdub_tui import languages
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.globs import Glob
from synthdub_tui.jobs.output_paths import is_output


class SkipReason(StrEnum):
    """Why a found file or folder is skipped. The values are codes of `SkippedPath`."""

    RESERVED = "reserved"  # a name that only a system or program gives
    HIDDEN = "hidden"  # begins with a dot
    EXCLUDED = "excluded"  # by --exclude
    FOLDER_LINK = "folder_link"  # a link to a folder
    SAME_FILE = "same_file"  # another name of a file that is used
    OWN_OUTPUT = "own_output"
    OUTPUT_COPY = "output_copy"  # of an output, made by another program
    NOT_A_VIDEO = "unsupported_file"  # not a video


SKIP_REASON_CODES: Final = frozenset(why.value for why in SkipReason)
"""Codes of skipped files and folders. Any other code is a problem."""

_RESERVED: Final = frozenset(
    name.casefold()
    for names in (
        # Synology, QNAP, Asustor, Thecus, Western Digital, Unraid
        ("#recycle", "#snapshot", "@eaDir", "@tmp", "@sharesnap", "@SynoDrive", "@SynologyDrive", "@SynologyDriveShareSync"),
        ("@cloudsync", "@database", "@appstore", "@SynoFinder", "@docker", ".SynologyWorkingDirectory"),
        ("@Recycle", "@Recently-Snapshot", "@Transcode", ".@__thumb", ".@__qini", ".@__comp", ".@upload_cache"),
        (".@#local", ".@metadata", ".@plugins", ".wdmc", ".wdcache", ".Recycle.Bin"),
        # Snapshots: NetApp, Isilon, Qumulo, Celerra, ZFS, btrfs, UFS, Ceph, Gluster
        (".snapshot", ".snapshots", "~snapshot", ".ckpt", ".zfs", ".snap", ".snaps", ".glusterfs", ".minio.sys"),
        # Samba, desktops
        (".recycle", ".recycler", ".deleted", ".Trash", ".Trashes", ".thumbnails", "lost+found"),
        # Windows
        ("$RECYCLE.BIN", "System Volume Information", "$Extend", "$SysReset", "$WinREAgent", "$GetCurrent", "Config.Msi"),
        ("DfsrPrivate", "MSOCache"),
        # macOS, AppleShare, Time Machine, Carbon Copy Cloner
        (".AppleDouble", ".AppleDB", ".AppleDesktop", ".AppleTemporary", ".fseventsd", ".TemporaryItems", ".MobileBackups"),
        (".PKInstallSandboxManager", "__MACOSX", "Network Trash Folder", "TheVolumeSettingsFolder", "TheFindByContentFolder"),
        ("Backups.backupdb", "_CCC SafetyNet"),
        # File sharing: Syncthing, Resilio, Dropbox, Google Drive, Nextcloud, ownCloud, Seafile, GoodSync, Allway Sync
        (".stversions", ".stfolder", ".sync", ".dropbox", ".dropbox.cache", ".shortcut-targets-by-id"),
        ("files_trashbin", "files_versions", "seafile-data", "_gsdata_", "_SYNCAPP"),
        # rsync, version control
        (".~tmp~", ".rsync-partial", ".git", ".hg", ".svn", ".bzr", ".jj", ".dvc"),
        # Recording, cutting, media servers
        ("Adobe Premiere Pro Video Previews", "Adobe Premiere Pro Preview Files", "Adobe Premiere Pro Audio Previews"),
        ("Adobe Premiere Pro Auto-Save", "Adobe After Effects Auto-Save", "CacheClip", "ProxyMedia", "OptimizedMedia"),
        ("Plex Versions", ".grab", ".deletedByTMM"),
    )
    for name in names
)

_RESERVED_START: Final = (
    "._",  # macOS leaves such files next to others on foreign disks
    "~$",  # a lock file
    "@gmt-",  # Windows' and Samba's previous versions
    ".trash-",
    ".stfolder",
    ".stversions",
    "~syncthing~",
    ".syncthing.",
    ".tmp.drive",  # Google Drive's up- and downloads
    ".spotlight-v",
    ".documentrevisions-v",
    ".mobilebackups",
    ".com.apple.",
    ".twonkymedia",
    "$windows.~",
    "_nas_recycle",
    ".fuse_hidden",
    ".nfs0",
    ".smbdelete",
    ".goutputstream-",
    ".unison.",
)

_FOUND_BY_CHKDSK: Final = re.compile(r"found\.\d{3}", re.IGNORECASE)


_OUTPUT_MARK: Final = re.compile(
    rf"(?:(?i:\.dubbed-(?:{'|'.join(languages.OUTPUT_CODES)}))|\.dubbed-[a-z]{{2,3}}-[A-Z]{{2}})(?![^\W\d_])"
)
"""Mark of an output, anywhere in a name: with a known code in any case, or with what looks like a new code."""


def is_output_copy(name: str) -> bool:
    """Whether another program gave this name to a copy of an output, such as `a.dubbed-fr-FR (1).mp4`."""
    if ".dubbed-" not in name.lower():  # nearly always
        return False
    return _OUTPUT_MARK.search(name) is not None and not is_output(name)


def is_reserved(name: str) -> bool:
    """Whether only a system or a program gives this name, in any case."""
    low = name.casefold()
    return low in _RESERVED or low.startswith(_RESERVED_START) or _FOUND_BY_CHKDSK.fullmatch(name) is not None


class SkipRules(NamedTuple):
    """What is skipped below a named folder, in addition to files that are not videos."""

    exclude: tuple[Glob, ...] = ()
    include_hidden: bool = False
    follow_links: bool = False

    @classmethod
    def from_options(cls, batch: BatchOptions) -> SkipRules:
        """The rules of the batch options. Raises ValueError for a pattern that can match nothing."""
        return cls(tuple(map(Glob, batch.exclude)), batch.include_hidden, batch.follow_links)

    def skip_reason(self, path: Sequence[str], *, folder: bool) -> SkipReason | None:
        """Why a path, given by its names below the named folder, is skipped; None if it is not. Its folders were checked
        before."""
        name = path[-1]
        if is_reserved(name):
            return SkipReason.RESERVED
        if name.startswith(".") and not self.include_hidden:
            return SkipReason.HIDDEN
        return SkipReason.EXCLUDED if any(glob.matches(path, folder=folder) for glob in self.exclude) else None
