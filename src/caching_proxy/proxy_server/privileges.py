"""Becoming another user once what needs root is done."""

from __future__ import annotations

import os
import sys

from caching_proxy.inputs import shown


class PrivilegesError(Exception):
    """Why the process cannot become that user, with its cure, in one line."""


def drop(user: str | None) -> None:
    """Become `USER` or `USER:GROUP` for good; None changes nothing. Raises PrivilegesError."""
    if user is None:
        return
    if sys.platform == "win32":
        raise PrivilegesError("--user is not to be had on Windows: leave it out")
    uid, gid, name = _find(user)
    if (os.geteuid(), os.getegid()) == (uid, gid):
        return
    try:
        os.initgroups(name, gid)
        os.setgid(gid)
        os.setuid(uid)
    except PermissionError:
        raise PrivilegesError(
            f"--user {user}: only root may become another user: start as root, or leave it out"
        ) from None


def known(user: str | None) -> None:
    """Raises PrivilegesError where this machine does not know that user, or the group."""
    if user is not None and sys.platform != "win32":
        _find(user)


def user_id(user: str | None) -> int:
    """The number of that user, without one of whom this process is. Raises PrivilegesError."""
    return os.geteuid() if user is None else _find(user)[0]


def own(descriptor: int, user: str) -> None:
    """Give a file to the user that this process will become. Raises PrivilegesError, OSError."""
    if sys.platform != "win32" and os.geteuid() == 0:
        uid, gid, _ = _find(user)
        os.fchown(descriptor, uid, gid)


def _find(user: str) -> tuple[int, int, str]:
    """User and group id, and the user's name."""
    import grp
    import pwd

    name, _, group = user.partition(":")
    try:
        found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        raise PrivilegesError(f"--user: there is no user {shown(name)}: name another") from None
    if not group:
        return found.pw_uid, found.pw_gid, found.pw_name
    try:
        entry = grp.getgrgid(int(group)) if group.isdigit() else grp.getgrnam(group)
    except KeyError:
        raise PrivilegesError(f"--user: there is no group {shown(group)}: name another") from None
    return found.pw_uid, entry.gr_gid, found.pw_name
