"""The control API: health, counters, clearing and purging, for people and tools on this machine."""

from __future__ import annotations

import errno
import hmac
import ipaddress
import json
import logging
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from caching_proxy.http.target import DEFAULT_PORTS, split_absolute, valid_authority
from caching_proxy.inputs import shown
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.receipt import Receipt

logger = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT = 0.5  # seconds: an idle proxy ends within one
NO_FIELDS: Mapping[str, str] = {}
_MAX_BODY = 1 << 16  # bytes: room for the longest target and many tags
_SELECTORS = ("url", "prefix", "tag", "group", "all")
_CHOICE = f"give one of {', '.join(_SELECTORS)}"
_TARGET = re.compile(r"[!\"$-~]+")  # visible ASCII without the # of a fragment
_NAME = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # of a tag or a group: ASCII, no space around it


class Controlled(Protocol):
    """What the API needs of a proxy: of all its workers together."""

    @property
    def serving(self) -> bool:
        """Whether anybody accepts connections."""
        ...

    async def missing(self) -> str | None:
        """What it cannot do without and does not have, in a few words."""
        ...

    async def stats(self) -> dict[str, Any]:
        """Counters by name."""
        ...

    async def origins(self) -> list[dict[str, Any]]:
        """What there is to tell of each origin and its servers."""
        ...

    async def order(self, server: str, order: str, origin: str | None) -> dict[str, str]:
        """Have a server ready, drained or disabled; ValueError (one line) when there is none."""
        ...

    async def clear(self) -> Receipt:
        """Drop every stored response and tell how many there were."""
        ...

    async def purge(self, selection: Mapping[str, Any]) -> Receipt:
        """Drop what `url`, `prefix`, `tags` or `group` names, or mark it stale (`soft`).

        `url` and `prefix` are paths with what follows, or absolute URLs.
        """
        ...

    async def explain(
        self, method: str, url: str, fields: Sequence[Sequence[str]], content: bytes
    ) -> dict[str, Any]:
        """How a request would be answered, and why; ValueError (one line) when it is none."""
        ...

    async def drain(self) -> dict[str, Any]:
        """Begin to end, as SIGTERM does; tell how much there is to end."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Take over the configuration anew; ValueError (a line a problem) when it is wrong."""
        ...


class ControlApi:
    """`GET /healthz` (503 while draining, or without a worker), `/readyz` (503 as well without what
    the proxy cannot do without), `/stats` and `/servers`; `POST /clear`, `/purge`, `/explain`,
    `/servers`, `/reload`, `/drain`.

    Every answer is JSON.
    """

    def __init__(self, proxy: Controlled, host: str, port: int, token: str | None = None) -> None:
        """With a `token` requests have to bring it, but for /healthz."""
        self.draining = False
        self.token = token
        self._proxy = proxy
        self._host = host
        self._port = port
        self.sockets: list[socket.socket] = []
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT
        )

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen, or go on on these sockets; ListenError (one line) when that cannot be had."""
        await self._runner.setup()
        try:
            for sock in sockets or self._bind():
                await web.SockSite(self._runner, sock).start()
                self.sockets.append(sock)
        except OSError as error:
            await self.stop()
            raise ListenError(_cause_and_cure(self._host, self._port, error)) from None

    def _bind(self) -> list[socket.socket]:
        """Raises OSError."""
        found = socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, address = found[0][0], found[0][4]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return [sock]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        """Where it listens, as a URL."""
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _application(self) -> web.Application:
        application = web.Application(
            middlewares=[_answer_errors, self._refuse_foreign], client_max_size=_MAX_BODY
        )
        application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._ready),
                web.get("/stats", self._stats),
                web.get("/servers", self._servers),
                web.post("/servers", self._order),
                web.post("/clear", self._clear),
                web.post("/purge", self._purge),
                web.post("/explain", self._explain),
                web.post("/reload", self._reload),
                web.post("/drain", self._drain),
            ]
        )
        return application

    async def _health(self, request: web.Request) -> web.Response:
        if self.draining:
            return _json({"status": "draining"}, status=503)
        if not self._proxy.serving:
            return _json({"status": "no worker"}, status=503)
        return _json({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        missing = await self._proxy.missing() if self._proxy.serving else None
        if missing is not None and not self.draining:
            return _json({"status": missing}, status=503)
        return await self._health(request)

    async def _stats(self, request: web.Request) -> web.Response:
        return _json(await self._proxy.stats())

    async def _servers(self, request: web.Request) -> web.Response:
        return _json({"origins": await self._proxy.origins()})

    async def _order(self, request: web.Request) -> web.Response:
        try:
            return _json(await self._proxy.order(*_read_order(await request.read())))
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    async def _clear(self, request: web.Request) -> web.Response:
        receipt = await self._proxy.clear()
        return _json({"removed": receipt.number, **receipt.reach})

    async def _drain(self, request: web.Request) -> web.Response:
        return _json(await self._proxy.drain())

    async def _reload(self, request: web.Request) -> web.Response:
        try:
            return _json(await self._proxy.reload())
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    async def _purge(self, request: web.Request) -> web.Response:
        try:
            selector, value, soft = _read_purge(await request.read())
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        except web.HTTPRequestEntityTooLarge:
            error_text = f"the body is larger than {_MAX_BODY} bytes: name less at a time"
            return _json({"error": error_text}, 413)
        receipt = await self._drop(selector, value, soft)
        return _json({"purged": receipt.number, "soft": soft, **receipt.reach})

    async def _explain(self, request: web.Request) -> web.Response:
        try:
            asked = _read_explain(await request.read())
            return _json(await self._proxy.explain(*asked))
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    async def _drop(self, selector: str, value: Any, soft: bool) -> Receipt:
        if selector == "all":
            if not soft:
                return await self._proxy.clear()
            return await self._proxy.purge({"prefix": "/", "soft": True})
        return await self._proxy.purge(
            {"tags" if selector == "tag" else selector: value, "soft": soft}
        )

    @web.middleware
    async def _refuse_foreign(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what a web page elsewhere makes a browser send here.

        A name that is not ours in Host tells DNS rebinding: 421 (RFC 9110 7.4). A request that
        changes something and comes from another site: 403.
        """
        if not self._is_trusted(request):
            error = {"error": "the admin token is missing or wrong: see --admin-token"}
            return _json(error, 401, {"WWW-Authenticate": "Bearer"})
        if not self._is_ours(request.headers.get("Host", "")):
            return _json({"error": "Host names another server: use this machine's address"}, 421)
        if request.method not in ("GET", "HEAD") and _is_cross_site(request):
            return _json({"error": "another site's page may not do this"}, 403)
        return await handler(request)

    def _is_trusted(self, request: web.Request) -> bool:
        """Whether it brings the token, where there is one."""
        if self.token is None or request.path in ("/healthz", "/readyz"):
            return True
        told = request.headers.get("Authorization", "")
        return hmac.compare_digest(
            told.encode("utf-8", "surrogateescape"), f"Bearer {self.token}".encode()
        )

    def _is_ours(self, authority: str) -> bool:
        try:
            name = urlsplit(f"//{authority}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self._host.lower(), socket.gethostname().lower()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = _json({"error": error.reason}, error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return _json({"error": "this failed; the log tells why"}, 500)


def _read_purge(body: bytes) -> tuple[str, Any, bool]:
    """Selector, what it names and whether softly; ValueError (one line) when it is not so."""
    asked = _read_object(body)
    soft = asked.pop("soft", False)
    for key in asked:
        if key not in _SELECTORS:
            raise ValueError(f"there is no key {shown(key)}: use {', '.join(_SELECTORS)} or soft")
    if not isinstance(soft, bool):
        raise ValueError("soft is neither true nor false: leave it out or give one of them")
    if len(asked) != 1:
        cause = f"{' and '.join(asked)} are given" if asked else "nothing is selected"
        raise ValueError(f"{cause}: {_CHOICE}")
    (selector, value), *_ = asked.items()
    return selector, _checked(selector, value), soft


def _read_explain(body: bytes) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Method, URL, fields and content of the request to explain; ValueError when it is not so."""
    asked = _read_object(body)
    url, method = asked.pop("url", None), asked.pop("method", "GET")
    fields, content = asked.pop("fields", []), asked.pop("content", "")
    if asked:
        raise ValueError(
            f"there is no key {shown(next(iter(asked)))}: use url, method, fields, content"
        )
    if not isinstance(url, str) or not _is_target(url):
        raise ValueError("url is neither a path with its query nor an absolute URL: give one")
    if not isinstance(method, str) or not isinstance(content, str):
        raise ValueError("method or content is no text: give texts")
    pairs: list[Any] = fields if isinstance(fields, list) else [None]
    if not all(_is_pair(pair) for pair in pairs):
        raise ValueError('fields are no list of pairs: write [["Accept", "text/html"]]')
    return method, url, [(name, value) for name, value in pairs], content.encode()


def _read_order(body: bytes) -> tuple[str, str, str | None]:
    """Server, state and origin (None: whichever has it); ValueError when it is not so."""
    asked = _read_object(body)
    server, state, origin = (asked.pop(name, None) for name in ("server", "state", "origin"))
    if asked:
        raise ValueError(f"there is no key {shown(next(iter(asked)))}: use server, state, origin")
    if not isinstance(server, str) or not isinstance(state, str):
        raise ValueError(
            'server or state is no text: send {"server": "HOST:PORT", "state": "drain"}'
        )
    if origin is not None and not isinstance(origin, str):
        raise ValueError("origin is no text: give the name of one, or leave it out")
    return server, state, origin


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and [type(text) for text in value] == [str, str]


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        # Integers as floats: these have no greatest number of digits.
        asked = json.loads(body, object_pairs_hook=_without_doubles, parse_int=float)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise ValueError('the body is not a JSON object: send one such as {"url": "/path"}')
    return asked


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is there twice: give each once")
    return members


def _checked(selector: str, value: Any) -> Any:
    """The value of a selector; a tag becomes a list of one."""
    if selector == "all":
        if value is not True:
            raise ValueError("all is not true: leave it out or give true")
    elif selector in ("url", "prefix"):
        if not isinstance(value, str) or not _is_target(value):
            raise ValueError(
                f"{selector} is neither a path that starts with / nor an http or https URL: give"
                " one in ASCII, without spaces, control characters or a fragment"
            )
    else:
        names = value if selector == "tag" and isinstance(value, list) else [value]
        if not names or not all(isinstance(n, str) and _NAME.fullmatch(n) for n in names):
            kind = "a name or a list of names" if selector == "tag" else "a name"
            raise ValueError(
                f"{selector} is not {kind}: give one in ASCII, without control characters"
                " or spaces around it"
            )
        return names if selector == "tag" else value
    return value


def _is_target(text: str) -> bool:
    if _TARGET.fullmatch(text) is None:
        return False
    if text.startswith("/"):
        return True
    absolute = split_absolute(text.encode())
    return absolute is not None and absolute[0] in DEFAULT_PORTS and valid_authority(absolute[1])


def _is_cross_site(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    if site not in ("none", "same-origin"):
        return True
    return origin is not None and origin.lower() != f"http://{request.host.lower()}"


def _json(
    content: Mapping[str, Any], status: int = 200, fields: Mapping[str, str] = NO_FIELDS
) -> web.Response:
    return web.Response(
        text=json.dumps(content) + "\n",
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **fields},
    )


def _cause_and_cure(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"the admin port {port} of {host} is in use: choose another with --admin-port"
            " (0 takes a free one), or none with --no-admin"
        )
    if error.errno == errno.EACCES:
        return f"the admin port {port} needs rights: choose one above 1023 with --admin-port"
    return f"the control API cannot listen on {host}: choose another --admin-host"
