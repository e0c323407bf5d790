"""Which addresses the processes of a test listen on, by Linux's `/proc`."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_LISTEN = "0A"
_SOCKET = re.compile(r"socket:\[(\d+)\]")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def group_of(leader: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, ProcessLookupError):
            if os.getpgid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return found


def listened(pids: Iterable[int]) -> dict[tuple[Address, int], int]:
    """Address and port of each TCP socket that one of the processes listens on, and whose it is."""
    owners = {inode: pid for pid in pids for inode in _sockets(pid)}
    return {place: owners[inode] for place, inode in _all() if inode in owners}


def _sockets(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if found := _SOCKET.fullmatch(str(descriptor.readlink())):
                    yield int(found[1])


def _all() -> Iterator[tuple[tuple[Address, int], int]]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{name}").read_text("ascii").splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTEN:
                    host, _, port = local.partition(":")
                    yield (_address(host), int(port, 16)), int(rest[5])


def _address(digits: str) -> Address:
    """The kernel prints words of four bytes in the machine's own order."""
    words = (bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    found = ipaddress.ip_address(b"".join(words))
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found
