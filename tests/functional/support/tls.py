"""Certificates for servers that speak TLS."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

import trustme


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.path = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.path))

    def server(self, name: str, *, expires: datetime | None = None) -> ssl.SSLContext:
        """What a server needs to prove that it is `name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(name, not_after=expires).configure_cert(context)
        return context

    def key_and_chain(self, name: str) -> Path:
        """The same in one PEM file, for servers of other programs."""
        path = self.path.with_name(f"{name}.pem")
        self._ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path
