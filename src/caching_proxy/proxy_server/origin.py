"""The configured origin: where it is, what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from caching_proxy.http.target import DEFAULT_PORTS


@dataclass(frozen=True)
class Origin:
    """`url` is scheme and authority as they stand in keys; `base_path` has no slash at its end."""

    url: bytes
    authority: bytes
    base_path: bytes
    host: str
    port: int
    secure: bool
    socket_path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Origin:
        """From `--origin`: http(s)://host[:port][/base], or unix:/path/to.sock."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            return cls(text.encode(), b"localhost", b"", "localhost", 0, False, path)
        parts = urlsplit(text)
        scheme = parts.scheme.lower()
        host = parts.hostname or ""
        default = DEFAULT_PORTS[scheme.encode()]
        port = default if parts.port is None else parts.port
        name = f"[{host}]" if ":" in host else host
        authority = name if port == default else f"{name}:{port}"
        return cls(
            url=f"{scheme}://{authority}".encode(),
            authority=authority.encode(),
            base_path=parts.path.rstrip("/").encode(),
            host=host,
            port=port,
            secure=scheme == "https",
        )
