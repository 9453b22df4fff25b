"""Addresses to serve at: parsing, loopback, sockets."""

from __future__ import annotations

import ipaddress
import re
import socket

from edge_segface.camera.viewer.connections import Listener
from edge_segface.errors import SinkError, reason_of


def parse_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`, `:PORT` or `PORT`; the default host is 127.0.0.1."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise SinkError(f"cannot serve at {text!r}", remedy="type HOST:PORT, for example 127.0.0.1:8080")
    return host.strip("[]") or "127.0.0.1", int(port)


def url_host(host: str) -> str:
    """Return the host as it stands in a URL that others can open."""
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind_socket(host: str, port: int) -> Listener:
    """Return a socket bound to the address; port 0 takes any free port."""
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = Listener(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        raise SinkError(
            f"cannot serve at {host}:{port}",
            found=reason_of(error),
            remedy="use an address of this machine and a free port, or port 0 for any free port",
        ) from error
    return bound
