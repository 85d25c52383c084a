"""What --origin means."""

from __future__ import annotations

import pytest

from caching_proxy.proxy_server.origin import Origin


@pytest.mark.parametrize(
    ("text", "url", "authority", "base", "host", "port", "secure"),
    [
        (
            "http://example.com",
            b"http://example.com",
            b"example.com",
            b"",
            "example.com",
            80,
            False,
        ),
        (
            "http://example.com:80/",
            b"http://example.com",
            b"example.com",
            b"",
            "example.com",
            80,
            False,
        ),
        (
            "https://Example.com:8443/a/b/",
            b"https://example.com:8443",
            b"example.com:8443",
            b"/a/b",
            "example.com",
            8443,
            True,
        ),
        ("http://[::1]:9000/x", b"http://[::1]:9000", b"[::1]:9000", b"/x", "::1", 9000, False),
    ],
)
def test_http(
    text: str, url: bytes, authority: bytes, base: bytes, host: str, port: int, secure: bool
) -> None:
    assert Origin.parse(text) == Origin(url, authority, base, host, port, secure)


def test_unix() -> None:
    origin = Origin.parse("unix:/run/app.sock")
    assert (origin.url, origin.authority) == (b"unix:/run/app.sock", b"localhost")
    assert origin.socket_path == "/run/app.sock"
