"""What the values of settings look like: reading them, their units and bounds, showing them."""

from __future__ import annotations

import ipaddress
import math
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.store_folder import SOCKET_PATH_MAX
from caching_proxy.inputs import BEYOND, normal_host, one_line, shown, whole_number
from caching_proxy.load_balancer.server_address import ServerAddress, parse_server, show_server
from caching_proxy.references import Hidden, look_up

_SIZE_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_SECOND_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", re.ASCII)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*|\*):(?P<port>[0-9]{1,5})")
_SECRET_FIELD = re.compile(
    "authorization|cookie|token|secret|password|credential|signature|api-?key", re.IGNORECASE
)
_CERTIFICATE = re.compile(
    r"-----BEGIN (?:X509 )?CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END (?:X509 )?CERTIFICATE-----"
)
_HOST_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_NUMBERS = (int, float, str)
_NUMBER_OR_TEXT = {"type": ["number", "string"]}


@dataclass(frozen=True)
class Authorities:
    """The certificates that servers are verified with, as they were in the file."""

    path: Path
    pem: str


@dataclass(frozen=True)
class Kind:
    """One kind of value: `read` turns what was given into it, or raises ValueError("cause: cure").

    `show` writes a value as it would be given; `unit` and `bounds` are for people, `schema` (JSON
    Schema) for editors.
    """

    read: Callable[[Any], Any]
    metavar: str = ""
    unit: str = ""
    bounds: str = ""
    show: Callable[[Any], str] = str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    takes: tuple[type, ...] = (str,)
    """Types that `read` takes; bool is no int here."""
    secret: bool = False
    """No message tells what was given."""

    def value(self, given: Any) -> Any:
        """What is given, read. Raises ValueError("cause: cure")."""
        if (type(given) is bool and bool not in self.takes) or not isinstance(given, self.takes):
            told = "this" if self.secret and isinstance(given, str) else shown(given)
            raise ValueError(f"{told} is not {_WORDS[self.takes[0]]}: write one")
        try:
            if isinstance(given, int) and abs(given) > BEYOND:
                raise OverflowError
            return self.read(given)
        except (OverflowError, RecursionError):
            raise ValueError(f"{shown(given)} is too much: write less") from None


_WORDS = {str: "a text", int: "a number", bool: "a switch", dict: "a table", object: "a table"}


def parse_size(value: str | int) -> int:
    """Bytes from `4096`, `16KB`, `256MB` or `1.5GB` (powers of 1024)."""
    found = _NUMBER.fullmatch(str(value))
    factor = _SIZE_UNITS.get(found[2].upper()) if found else None
    if found is None or factor is None:
        raise ValueError(
            f"{shown(value)} is not a size: write bytes, or a number with KB, MB, GB or TB"
        )
    return int(float(found[1]) * factor) if "." in found[1] else whole_number(found[1]) * factor


def format_size(size: int) -> str:
    """The shortest exact form that `parse_size` reads back: 268435456 is `256MB`."""
    for unit in ("TB", "GB", "MB", "KB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return str(size)


def parse_seconds(value: str | float) -> float:
    """Seconds from `2.5`, `500ms`, `10s`, `5m`, `1h` or `1d`."""
    found = _NUMBER.fullmatch(str(value))
    factor = _SECOND_UNITS.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise ValueError(
            f"{shown(value)} is not a duration: write seconds, or a number with ms, s, m, h or d"
        )
    return float(found[1]) * factor


def format_seconds(seconds: float) -> str:
    """Seconds without a needless fraction: `3600`, `0.5`."""
    return f"{seconds:.12g}"


def _parse_whole(value: str | int) -> int:
    found = re.fullmatch(r"\s*(-?[0-9]+)\s*", str(value), re.ASCII)
    if found is None:
        raise ValueError(f"{shown(value)} is not a whole number")
    return whole_number(found[1])


def _bounded(
    parse: Callable[[Any], Any], low: float, high: float, show: Callable[[Any], str]
) -> tuple[Callable[[Any], Any], str]:
    bounds = f"{show(low)} to {show(high)}"

    def read(value: Any) -> Any:
        try:
            number = parse(value)
        except ValueError as error:
            has_cure = ": " in str(error).removeprefix(shown(value))
            cure = ", " if has_cure else ": use "
            raise ValueError(f"{error}{cure}{bounds}") from None
        if not low <= number <= high:
            raise ValueError(f"{shown(value)} is out of range: use {bounds}")
        return number

    return read, bounds


def whole(low: int, high: int, unit: str = "") -> Kind:
    """A whole number from `low` to `high`."""
    read, bounds = _bounded(_parse_whole, low, high, str)
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Kind(read, "INT", unit, bounds, schema=schema, takes=_NUMBERS)


def size(low: int, high: int, unit: str = "bytes") -> Kind:
    """A number of bytes from `low` to `high`."""
    read, bounds = _bounded(parse_size, low, high, lambda number: format_size(int(number)))
    return Kind(read, "SIZE", unit, bounds, format_size, _NUMBER_OR_TEXT, _NUMBERS)


def seconds(low: float, high: float) -> Kind:
    """A duration from `low` to `high` seconds."""
    read, bounds = _bounded(parse_seconds, low, high, format_seconds)
    return Kind(read, "SECONDS", "seconds", bounds, format_seconds, _NUMBER_OR_TEXT, _NUMBERS)


def choice(*words: str) -> Kind:
    """One of a few words, in any case."""
    bounds = f"{', '.join(words[:-1])} or {words[-1]}"
    known = {word.lower(): word for word in words}

    def read(value: str) -> str:
        word = known.get(str(value).strip().lower())
        if word is None:
            raise ValueError(f"{shown(value)} is none of the choices: use {bounds}")
        return word

    return Kind(read, "WORD", bounds=bounds, schema={"enum": list(words)})


def _read_host(value: str) -> str:
    text = str(value).strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    _check_host(text)
    return text


def _check_host(text: str) -> None:
    """That this is an IP address, or a name in any script; else ValueError("cause: cure")."""
    told = shown(_without_secrets(text))
    try:
        if not text or re.search(r"[\s/@\0-\x1f\x7f]", text):
            raise UnicodeError
        normal_host(f"[{text}]" if ":" in text else text)
        text.encode("idna")
    except UnicodeError:
        raise ValueError(f"{told} is not an address: use an IP address or a host name") from None
    except ValueError as error:
        raise ValueError(f"{told} {error}") from None


def _check_authority(authority: str) -> None:
    """The same of the host in HOST or HOST:PORT, in ASCII."""
    host = re.sub(r":[0-9]+$", "", authority)
    try:
        normal_host(host)
    except ValueError as error:
        raise ValueError(f"{shown(host)} {error}") from None


def _without_secrets(text: str) -> str:
    """What may be shown of an address: there may be a password, or a token in a query."""
    return re.sub(r"\?.*", "?***", re.sub(r"([^/]*)@", "***@", text), flags=re.DOTALL)


def _read_origin(value: str) -> str:
    text = str(value).strip()
    if text.startswith("unix:"):
        if not text[5:].startswith("/"):
            raise ValueError(f"{shown(value)} has no absolute path: write unix:/path/to.sock")
        return text
    example = "write http:// or https://, a host, and perhaps a port and a path"
    told = shown(_without_secrets(text))
    try:
        url = urlsplit(text)
        port, host = url.port, url.hostname
    except ValueError:
        raise ValueError(f"{told} has a bad host or port: {example}") from None
    if url.scheme.lower() not in ("http", "https") or not host or port == 0:
        raise ValueError(f"{told} is not an origin: {example}")
    if url.username is not None:
        raise ValueError(f"{shown(host)} has a user name before it: {example}")
    if url.query or url.fragment or text.endswith(("?", "#")):
        raise ValueError(f"{told} has a query or fragment: end it with the path")
    if not _AUTHORITY.fullmatch(url.netloc) or not re.fullmatch(r"[!-~]*", url.path):
        raise ValueError(f"{told} has characters no URL has: percent-encode them (xn-- in a host)")
    _check_authority(url.netloc)
    return text


def origin_port(url: str) -> int:
    """The port of an ORIGIN that is no socket."""
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}[parts.scheme.lower()]


def _read_network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(
            f"{shown(str(value))} is not a network: write an IP address or one like 10.0.0.0/8"
        ) from None
    if str(value) not in (str(network), str(network.network_address), network.with_netmask):
        raise ValueError(f"{shown(str(value))} is not the start of a network: write {network}")
    return network


def _read_authority(value: str) -> str:
    text = str(value).strip()
    if not _AUTHORITY.fullmatch(text):
        raise ValueError(f"{shown(value)} is not a server name: write HOST or HOST:PORT")
    _check_authority(text)
    return text.lower()


def _read_token(value: str) -> str:
    if not _TOKEN.fullmatch(str(value)):
        told = re.sub(
            ":.*", ":***", str(value), flags=re.DOTALL
        )  # a field's value, at the wrong place
        raise ValueError(f"{shown(told)} is not a token: use letters, digits, - . and _ alone")
    return str(value)


def _read_parameter(value: str) -> str:
    name = str(value).removesuffix("*")
    if not name or re.search(r"[\s&=#*]", name):
        raise ValueError(f"{shown(value)} is no parameter: write its name, or its beginning and *")
    return str(value)


def _holds(test: Callable[[], bool]) -> bool:
    """Whether a test of a path holds: not where the path is one that no file can have."""
    try:
        return test()
    except OSError:
        return False


def _read_authorities(value: str | Path | Authorities) -> Authorities:
    if isinstance(value, Authorities):
        return value
    path = Path(value)
    # Between the blocks there may be words in any language.
    pem = "\n".join(_CERTIFICATE.findall(look_up(f"file:{path}")))
    try:
        if not pem:
            raise ValueError
        ssl.create_default_context(cadata=pem)
    except (ValueError, ssl.SSLError):
        raise ValueError(
            f"{shown(str(path))} has no certificates in PEM form: name another"
        ) from None
    return Authorities(path, pem)


def _read_log_file(value: str) -> str:
    path = Path(value)
    fits = str(value) == "-" or (_holds(path.parent.is_dir) and not _holds(path.is_dir))
    if "\0" in str(value) or not fits:
        raise ValueError(
            f"{shown(str(path))} cannot be a file: name one in a folder that exists, or -"
        )
    return str(value)


def _read_folder(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError(f"{shown(value)} cannot be a folder: name one")
    return str(Path(value).absolute())


def _read_socket_path(value: str) -> str:
    text = str(value).removeprefix("unix:")
    if not text or len(text.encode()) > SOCKET_PATH_MAX:
        raise ValueError(f"{shown(value)} cannot be a socket: use 1 to {SOCKET_PATH_MAX} bytes")
    if not _holds(Path(text).parent.is_dir):
        raise ValueError(f"{shown(str(Path(text).parent))} is no folder: create it first")
    return text


def _read_server(value: str | ServerAddress) -> ServerAddress:
    if isinstance(value, ServerAddress):
        return value
    if "@" in value:
        told = _without_secrets(value)
        raise ValueError(f"{shown(told)} is not a server: it has a user name: leave that out")
    return parse_server(value)


def _read_hashed(value: str) -> str:
    kind, colon, name = str(value).strip().partition(":")
    if kind.lower() in ("header", "cookie") and colon:
        return f"{kind.lower()}:{_read_token(name)}"
    if str(value).strip().lower() not in ("url", "address"):
        raise ValueError(
            f"{shown(value)} is no part of a request: use url, address, header:NAME or cookie:NAME"
        )
    return str(value).strip().lower()


def _read_target(value: str) -> str:
    if not re.fullmatch(r"/[!-\"$-~]*", str(value)):
        raise ValueError(f"{shown(value)} is not a path: begin with / and leave out spaces and #")
    return str(value)


def _read_phrase(value: str) -> str:
    if not re.fullmatch("[ -~]*", str(value)):
        raise ValueError(f"{shown(value)} is not ASCII in one line: choose such a part")
    return str(value)


def _read_switch(value: bool) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a switch: use true or false")
    return value


def _read_listen_address(value: str) -> str:
    """`:3000`, `HOST:PORT`, `[::1]:3000` or `unix:/path.sock`."""
    text = str(value).strip()
    if text.startswith("unix:"):
        return f"unix:{_read_socket_path(text)}"
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(
            f"{shown(value)} is not an address: write :PORT, HOST:PORT, [IPV6]:PORT or unix:/path"
        )
    _check_host(found["host"].strip("[]") or "*")
    return text


def listen_place(address: str) -> tuple[str, int | None]:
    """Host ("": every interface) and port of a LISTEN_ADDRESS; path and None of a unix socket."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:"), None
    host, _, port = address.rpartition(":")
    return "" if host == "*" else host.strip("[]"), int(port)


def _read_host_pattern(value: str) -> str:
    text = str(value).strip().lower()
    if not _HOST_PATTERN.fullmatch(text):
        raise ValueError(
            f"{shown(value)} is not a host: write a name without a port, or *. and its end"
        )
    _check_authority(text.removeprefix("*."))
    return text


def _read_path_prefix(value: str) -> str:
    if (
        not isinstance(value, str)
        or not re.fullmatch(r"/[!-~]*", value)
        or re.search("[?#]", value)
    ):
        raise ValueError(
            f"{shown(value)} is not a path: begin with / and leave out query and fragment"
        )
    return value


def _read_pattern(value: str) -> str:
    try:
        re.compile(str(value).encode("ascii"))
    except (re.error, UnicodeEncodeError) as error:
        raise ValueError(
            f"{shown(value)} is not a regular expression ({one_line(str(error))}): correct it"
        ) from None
    return str(value)


def _read_method(value: str) -> str:
    text = _read_token(value)
    if text != text.upper():
        raise ValueError(f"{shown(value)} is not a method: write it in capital letters")
    return text


def _read_status(value: Any) -> str:
    text = str(value).lower()
    if isinstance(value, bool) or not re.fullmatch(r"[2-5](?:[0-9][0-9]|xx)|[6-9][0-9][0-9]", text):
        raise ValueError(f"{shown(value)} is not a final status: write one such as 404, or 5xx")
    return text


def _read_media_type(value: str) -> str:
    text = str(value).strip().lower()
    if not re.fullmatch(r"[!#$%&'+.^_`|~0-9a-z-]+/(\*|[!#$%&'+.^_`|~0-9a-z-]+)", text):
        raise ValueError(
            f"{shown(value)} is not a media type: write one such as image/png or image/*"
        )
    return text


def _read_name_pattern(value: str) -> str:
    name = str(value).removesuffix("*")
    if not _TOKEN.fullmatch(name) or "*" in name:
        raise ValueError(f"{shown(value)} is not a name: write it, or its beginning and *")
    return str(value)


def _read_field_values(value: Any) -> dict[str, str]:
    values = {}
    for name, text in value.items():
        _read_token(name)
        found = look_up(text) if isinstance(text, str) else ""
        if not isinstance(text, str) or not re.fullmatch(r"[\t -~\x80-\xff]*", found):
            told = "what is given" if tells_secret(name) else shown(text)
            raise ValueError(
                f"{one_line(name)}: {told} is not a field value: write a text of one line"
            )
        values[name] = found
    return values


def tells_secret(field: str) -> bool:
    """Whether the values of a field are likely to be secrets, so that none is shown."""
    return _SECRET_FIELD.search(field) is not None


def _read_field_patterns(value: Any) -> dict[str, Any]:
    for name, pattern in value.items():
        _read_token(name)
        if isinstance(pattern, str) and tells_secret(name):
            try:
                _read_pattern(pattern)
            except ValueError:
                raise ValueError(
                    f"{one_line(name)}: its pattern is no regular expression"
                ) from None
        elif isinstance(pattern, str):
            _read_pattern(pattern)
        elif not isinstance(pattern, bool):
            raise ValueError(
                f"{one_line(name)}: {shown(pattern)} is no pattern: write a text or a switch"
            )
    return dict(value)


def is_label(text: str) -> bool:
    """Whether it may be the name of an origin or a route."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) is not None


def _read_label(value: str) -> str:
    if not is_label(value):
        raise ValueError(f"{shown(value)} is not a name: use up to 64 letters, digits, - . and _")
    return value


def _read_text(value: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[!-~]*", value):
        raise ValueError(f"{shown(value)} is not visible ASCII: percent-encode the rest")
    return value


def _read_user(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?", str(value)):
        raise ValueError(f"{shown(value)} is not a user: write USER or USER:GROUP")
    return str(value)


def _read_workers(value: Any) -> int:
    """A number; 0 stands for auto, one a core."""
    if str(value).strip().lower() == "auto":
        return 0
    if (
        isinstance(value, bool)
        or not re.fullmatch("[0-9]+", str(value))
        or not 1 <= whole_number(str(value)) <= 1024
    ):
        raise ValueError(f"{shown(value)} is no number of workers: use 1 to 1024, or auto")
    return int(value)


def _read_secret(value: str) -> str:
    """A text, or where it stands: `file:PATH`, `env:NAME`. Messages never repeat it."""
    text = look_up(str(value))
    if not re.fullmatch(r"[!-~]{8,}", text):
        raise ValueError("the secret is too short or has spaces: use 8 or more visible characters")
    return text


def _read_redis_url(value: str) -> str:
    """An address, or where it stands: `file:PATH`, `env:NAME`; it may have a password in it."""
    text = look_up(str(value))
    try:
        RedisAddress.parse(text)
    except ValueError as error:
        raise ValueError(f"this is not the address of a Redis: {error}") from None
    return text


def _show_redis_url(value: str) -> str:
    return _without_secrets(value) if not isinstance(value, Hidden) else "***"


def _read_redis_prefix(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,64}", value) or set(value) & set("*?[]^\\{}"):
        raise ValueError(
            f"{shown(value)} is no prefix:"
            f" use up to 64 visible characters, none of *?[]^{{}} and \\"
        )
    return value


FOREVER = math.floor(2**31 - 1)  # seconds: the greatest delta-seconds (RFC 9111 1.2.2)

PORT = whole(0, 65535)
SWITCH = Kind(_read_switch, schema={"type": "boolean"}, takes=(bool,))
HOST = Kind(_read_host, "ADDRESS")
ORIGIN = Kind(_read_origin, "URL", secret=True)
NETWORK = Kind(_read_network, "NETWORK", takes=(str, ipaddress.IPv4Network, ipaddress.IPv6Network))
AUTHORITY = Kind(_read_authority, "NAME")
TOKEN = Kind(_read_token, "TOKEN")
PARAMETER = Kind(_read_parameter, "NAME")
AUTHORITIES = Kind(
    _read_authorities,
    "FILE",
    show=lambda authorities: str(authorities.path),
    takes=(str, Path, Authorities),
)
LOG_FILE = Kind(_read_log_file, "FILE")
FOLDER = Kind(_read_folder, "FOLDER")
SOCKET_PATH = Kind(_read_socket_path, "PATH")
SERVER = Kind(_read_server, "SERVER", show=show_server, takes=(str, ServerAddress))
HASHED = Kind(_read_hashed, "PART", bounds="url, address, header:NAME or cookie:NAME")
TARGET = Kind(_read_target, "PATH")
PHRASE = Kind(_read_phrase, "TEXT")
LISTEN_ADDRESS = Kind(_read_listen_address, "ADDRESS")
HOST_PATTERN = Kind(_read_host_pattern, "HOST")
PATH_PREFIX = Kind(_read_path_prefix, "PATH")
PATTERN = Kind(_read_pattern, "REGEX")
METHOD = Kind(_read_method, "METHOD")
STATUS = Kind(_read_status, "STATUS", schema={"type": ["integer", "string"]}, takes=(str, int))
MEDIA_TYPE = Kind(_read_media_type, "TYPE")
NAME_PATTERN = Kind(_read_name_pattern, "NAME")
FIELD_VALUES = Kind(
    _read_field_values,
    "TABLE",
    secret=True,
    schema={"type": "object", "additionalProperties": {"type": "string"}},
    takes=(dict,),
)
FIELD_PATTERNS = Kind(
    _read_field_patterns,
    "TABLE",
    secret=True,
    schema={"type": "object", "additionalProperties": {"type": ["string", "boolean"]}},
    takes=(dict,),
)
WORKERS = Kind(
    _read_workers,
    "N",
    bounds="1 to 1024, or auto",
    show=lambda number: str(number or "auto"),
    schema={"type": ["integer", "string"]},
    takes=(int, str),
)
SECRET = Kind(
    _read_secret,
    "SECRET",
    bounds="a text, file:PATH or env:NAME",
    show=lambda _: "***",
    secret=True,
)
REDIS_URL = Kind(
    _read_redis_url,
    "URL",
    bounds="an address, file:PATH or env:NAME",
    show=_show_redis_url,
    secret=True,
)
REDIS_PREFIX = Kind(_read_redis_prefix, "TEXT")
LABEL = Kind(_read_label, "NAME")
TEXT = Kind(_read_text, "TEXT")
USER = Kind(_read_user, "USER")
TABLE = Kind(lambda value: value, "TABLE", takes=(object,))
