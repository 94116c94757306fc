"""Whether a folder is on a network drive, where SQLite's write-ahead log and locks can't be relied on."""

from __future__ import annotations

from pathlib import Path

#: Types of file systems that other machines may write to, as Linux names them.
_SHARED = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse.glusterfs",
    "fuse.sshfs", "afs", "9p", "pvfs2", "orangefs", "panfs", "ocfs2", "gfs2",
}  # fmt: skip
_MOUNTS = Path("/proc/mounts")


def network_drive(folder: Path) -> str:
    """Return the type of the network file system that a folder is on; empty where it is on none, or that is unknown.

    Parameters
    ----------
    folder : Path
        It may not exist yet.
    """
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""  # not Linux
    mounts = [line.split(" ")[1:3] for line in lines if line.count(" ") >= 2]
    path = folder.resolve()
    above = [(len(point), kind) for point, kind in mounts if path.is_relative_to(_unescaped(point))]
    # The last of equal ones hides the others.
    kind = max(enumerate(above), key=lambda item: (item[1][0], item[0]))[1][1] if above else ""
    return kind if kind in _SHARED else ""


def _unescaped(point: str) -> str:
    """Return a mount point as the kernel means it: spaces, tabs and backslashes are written in octal."""
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, sign)
    return point
