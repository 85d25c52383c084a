"""Every setting of the proxy, declared once: type, default, unit, bounds, environment, help.

The command line, `--help` and docs/reference/settings.md are generated from these declarations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from typing_extensions import Self

from caching_proxy import setting_kinds as kinds
from caching_proxy.load_balancer.server_address import ServerAddress

KB, MB, GB, TB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
HOUR, DAY = 3600.0, 86400.0
SLICE_MIN = 64 * KB  # bytes: a request and an entry a slice should be worth it

LISTENING = "Listening"
ORIGIN = "Origin"
FORWARDING = "Forwarding"
CACHE = "Cache"
LIMITS = "Timeouts and limits"
CONTROL = "Control and logs"
REDIS = "Redis"
BALANCING = "Load balancing"
GROUPS = (LISTENING, ORIGIN, CACHE, LIMITS, FORWARDING, CONTROL, REDIS, BALANCING)


class SettingsError(ValueError):
    """Settings that cannot be used; `lines` has one line a problem, with its cause and cure."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True)
class Declaration:
    """What is declared about one setting, for the command line and the reference."""

    name: str
    default: Any
    kind: kinds.Kind
    group: str
    help: str
    environment: str
    repeatable: bool

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is ...

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.kind is kinds.SWITCH

    @property
    def flag(self) -> str:
        """The flag; a switch that is on by default has the flag that turns it off."""
        prefix = "--no-" if self.is_switch and self.default else "--"
        return prefix + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """The default as it would be given, or nothing where there is none."""
        if self.required or self.is_switch or self.default is None:
            return ""
        values = self.default if self.repeatable else [self.default]
        return ", ".join(self.kind.show(value) for value in values)


def setting(
    default: Any, kind: kinds.Kind, group: str, description: str, *, environment: str = ""
) -> Any:
    """Declare one setting; `...` as default makes it required, a list makes it repeatable."""
    extra: Any = {"kind": kind, "group": group, "environment": environment}
    return Field(default, description=description, json_schema_extra=extra)


class _Declared(BaseModel):
    """A frozen model whose fields are all declared with `setting`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def declarations(cls) -> Iterator[Declaration]:
        """Every setting, by group in the order of GROUPS."""
        found = [cls.declaration(name) for name in cls.model_fields]
        yield from sorted(found, key=lambda declared: GROUPS.index(declared.group))

    @classmethod
    def declaration(cls, name: str) -> Declaration:
        """What was declared about one setting."""
        field = cls.model_fields[name]
        extra: Any = field.json_schema_extra
        default = ... if field.is_required() else field.default
        return Declaration(
            name,
            default,
            help=field.description or "",
            repeatable=isinstance(default, list),
            **extra,
        )

    @classmethod
    def load(cls, given: Mapping[str, Any], environment: Mapping[str, str]) -> Self:
        """Settings from the command line, then the environment, then the defaults.

        An empty environment variable counts as absent. SettingsError names all that is wrong.
        """
        values = dict(given)
        labels = {}
        for declared in cls.declarations():
            labels[declared.name] = declared.flag
            variable = declared.environment
            if declared.name not in given and environment.get(variable):
                values[declared.name] = environment[variable]
                labels[declared.name] = f"{variable} ({declared.flag})"
        try:
            return cls(**values)
        except ValidationError as error:
            details = error.errors(include_url=False)
            lines = [line for detail in details for line in _lines(detail, labels)]
            raise SettingsError(lines) from None

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        declared = cls.declaration(str(info.field_name))
        if value is None and declared.default is None:
            return None
        if not declared.repeatable:
            return declared.kind.read(value)
        return _read_each(declared.kind, value)


def _read_each(kind: kinds.Kind, values: list[Any]) -> list[Any]:
    read, problems = [], []
    for value in values:
        try:
            read.append(kind.read(value))
        except ValueError as error:
            problems.append(str(error))
    _raise_any(problems)
    return read


def _raise_any(problems: list[str]) -> None:
    if problems:
        raise ValueError("\n".join(problems))


def _lines(detail: ErrorDetails, labels: Mapping[str, str]) -> list[str]:
    """One line a problem: the flag (or variable), the value, what is wrong, what to do."""
    if not detail["loc"]:
        return str(detail["ctx"]["error"]).splitlines()
    name = str(detail["loc"][0])
    label = labels.get(name, name)
    if detail["type"] == "missing":
        return [f"{label} is missing: give it, such as {label} https://example.com"]
    if detail["type"] == "extra_forbidden":
        return [f"{label}: there is no such setting: leave it out"]
    cause = str(detail["ctx"]["error"]) if "ctx" in detail else detail["msg"]
    return [f"{label}: {line}" for line in cause.splitlines()]


class StoreSettings(_Declared):
    """How the commands `stats` and `clear-cache` reach a running proxy or its store."""

    admin_host: str = setting(
        "127.0.0.1", kinds.HOST, CONTROL, "Address of the control API (health, stats, clear)."
    )
    admin_port: int = setting(
        3001, kinds.PORT, CONTROL, "Port of the control API; 0 takes any free one."
    )
    redis_host: str = setting(
        "localhost", kinds.HOST, REDIS, "Host of Redis.", environment="REDIS_HOST"
    )
    redis_port: int = setting(
        6379, kinds.whole(1, 65535), REDIS, "Port of Redis.", environment="REDIS_PORT"
    )
    use_cluster: bool = setting(False, kinds.SWITCH, REDIS, "Redis is a cluster.")


class Settings(StoreSettings):
    """Every setting of a proxy; sizes are bytes, durations seconds."""

    host: list[str] = setting(
        [],
        kinds.HOST,
        LISTENING,
        "Address to listen on; without one, every interface, IPv4 and IPv6.",
    )
    port: int = setting(
        3000,
        kinds.PORT,
        LISTENING,
        "TCP port to listen on; 0 takes any free one.",
        environment="PROXY_PORT",
    )
    unix_socket: list[str] = setting(
        [], kinds.SOCKET_PATH, LISTENING, "Unix socket to listen on as well."
    )
    backlog: int = setting(
        4096,
        kinds.whole(1, 65535, "connections"),
        LISTENING,
        "Connections that may wait to be accepted.",
    )
    server_name: list[str] = setting(
        [],
        kinds.AUTHORITY,
        LISTENING,
        "Another name of ours, for targets in absolute form; others get 421.",
    )

    origin: str = setting(
        ...,
        kinds.ORIGIN,
        ORIGIN,
        "The server to forward to: http:// or https://, with or without a base path, or"
        " unix:/path/to.sock.",
    )
    origin_ca: Path | None = setting(
        None,
        kinds.EXISTING_FILE,
        ORIGIN,
        "PEM file of the authorities that an https origin is verified with; without it, the"
        " system's.",
    )
    origin_insecure: bool = setting(
        False, kinds.SWITCH, ORIGIN, "Do not verify the certificate of an https origin."
    )
    origin_keepalive: int = setting(
        256, kinds.whole(0, 65535, "connections"), ORIGIN, "Idle connections to the origin to keep."
    )
    origin_idle_timeout: float = setting(
        60.0, kinds.seconds(0.001, DAY), ORIGIN, "How long an idle connection to it is kept."
    )
    connect_timeout: float = setting(
        5.0, kinds.seconds(0.001, HOUR), ORIGIN, "Time to connect to it, TLS included; then 504."
    )
    origin_head_timeout: float = setting(
        60.0, kinds.seconds(0.001, HOUR), ORIGIN, "Time until its response head is there; then 504."
    )
    origin_body_timeout: float = setting(
        60.0, kinds.seconds(0.001, HOUR), ORIGIN, "How long its response body may stall."
    )
    resolve_interval: float = setting(
        10.0, kinds.seconds(0.001, DAY), ORIGIN, "How long an answer of DNS about it is used."
    )

    memory: int = setting(
        256 * MB, kinds.size(0, 16 * TB), CACHE, "Bound of the memory tier; 0 turns it off."
    )
    max_object: int = setting(
        16 * MB, kinds.size(0, 2 * GB), CACHE, "Larger responses stream through unstored."
    )
    slice: int = setting(
        0,
        kinds.size(0, GB),
        CACHE,
        "Fetch and store large responses in slices of this size; 0 turns it off.",
    )
    cache_ttl: float = setting(
        HOUR,
        kinds.seconds(0, kinds.FOREVER),
        CACHE,
        "Freshness of responses that do not tell their own; 0 leaves the heuristic of RFC 9111.",
        environment="CACHE_TTL",
    )
    negative_ttl: float = setting(
        10.0,
        kinds.seconds(0, kinds.FOREVER),
        CACHE,
        "The same for 404, 405, 410, 414 and 501.",
    )
    stale_if_error: float = setting(
        HOUR,
        kinds.seconds(0, kinds.FOREVER),
        CACHE,
        "How long after its freshness a response may answer while the origin fails.",
    )
    client_cache_control: str = setting(
        "honour",
        kinds.choice("honour", "ignore"),
        CACHE,
        "What Cache-Control and Pragma of requests do: clients may ask for a fresh answer, or"
        " nothing.",
    )
    targeted_field: list[str] = setting(
        ["CDN-Cache-Control"],
        kinds.TOKEN,
        CACHE,
        "Field that goes before Cache-Control and Expires (RFC 9213); the first one that is there"
        " holds.",
    )
    uncacheable_ttl: float = setting(
        120.0,
        kinds.seconds(0, DAY),
        CACHE,
        "How long it is remembered that nobody can share the answer to a request.",
    )
    max_variants: int = setting(
        64, kinds.whole(1, 10000, "variants"), CACHE, "Most stored variants of one URL."
    )
    max_ranges: int = setting(
        16,
        kinds.whole(0, 1000, "ranges"),
        CACHE,
        "Most ranges of a request; one with more gets the whole.",
    )
    tag_field: list[str] = setting(
        ["Cache-Tag", "Surrogate-Key", "xkey"],
        kinds.TOKEN,
        CACHE,
        "Response field that tells the tags to purge by.",
    )
    strip_tags: bool = setting(
        False, kinds.SWITCH, CACHE, "Do not send these fields on to clients."
    )
    purge_from: list[IPv4Network | IPv6Network] = setting(
        [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")],
        kinds.NETWORK,
        CACHE,
        "Network from which the method PURGE is taken.",
    )
    cache_method: list[str] = setting(
        [],
        kinds.choice("POST", "PUT"),
        CACHE,
        "Method that is cached besides GET, HEAD and QUERY, its content in the key, where the"
        " origin states freshness.",
    )
    max_keyed_body: int = setting(
        64 * KB,
        kinds.size(0, 16 * MB),
        CACHE,
        "Greatest request content that goes into a key; requests with more are not cached.",
    )
    query_drop: list[str] = setting(
        [],
        kinds.PARAMETER,
        CACHE,
        "Query parameter to leave out, in the key and upstream; utm_* means all that begin so.",
    )
    query_keep: list[str] = setting(
        [], kinds.PARAMETER, CACHE, "Query parameter to keep; with one, all others are left out."
    )
    query_sort: bool = setting(
        False, kinds.SWITCH, CACHE, "Put query parameters in order, in the key and upstream."
    )
    key_header: list[str] = setting(
        [], kinds.TOKEN, CACHE, "Request field to add to the key, and to send on in any case."
    )
    key_cookie: list[str] = setting([], kinds.TOKEN, CACHE, "Cookie to add to the key.")
    key_device: bool = setting(
        False, kinds.SWITCH, CACHE, "Add the device to the key: mobile, tablet, desktop or bot."
    )
    normalize_path: bool = setting(
        False,
        kinds.SWITCH,
        CACHE,
        "Normalise dot segments and percent-encoding of the path, in the key and upstream.",
    )

    head_timeout: float = setting(
        10.0, kinds.seconds(0.001, HOUR), LIMITS, "Time for a complete request head; then 408."
    )
    body_timeout: float = setting(
        30.0, kinds.seconds(0.001, HOUR), LIMITS, "How long a request body may stall; then 408."
    )
    send_timeout: float = setting(
        60.0, kinds.seconds(0.001, HOUR), LIMITS, "How long a client may take nothing at all."
    )
    keepalive_timeout: float = setting(
        75.0, kinds.seconds(0.001, DAY), LIMITS, "How long an idle client connection is kept."
    )
    min_rate: int = setting(
        100,
        kinds.size(0, GB, "bytes a second"),
        LIMITS,
        "Slower clients are cut off; 0 turns this off.",
    )
    max_head: int = setting(
        32 * KB, kinds.size(KB, 16 * MB), LIMITS, "Greatest request or response head; then 431."
    )
    max_target: int = setting(
        16 * KB, kinds.size(64, 16 * MB), LIMITS, "Greatest request target; then 414."
    )
    max_fields: int = setting(
        128, kinds.whole(1, 10000, "fields"), LIMITS, "Most header fields of a message; then 431."
    )
    max_body: int | None = setting(
        None, kinds.size(0, 16 * TB), LIMITS, "Greatest request body, then 413; without it, any."
    )
    max_connections: int | None = setting(
        None,
        kinds.whole(1, 10_000_000, "connections"),
        LIMITS,
        "Most client connections; without it, as many as file descriptors allow.",
    )
    max_connections_per_client: int = setting(
        0, kinds.whole(0, 10_000_000, "connections"), LIMITS, "The same a client address; 0: any."
    )
    grace: float = setting(
        30.0, kinds.seconds(0, DAY), LIMITS, "Time that running exchanges get at the end."
    )

    host_header: str = setting(
        "origin",
        kinds.choice("origin", "client", "server"),
        FORWARDING,
        "Whose name is sent upstream in Host: the origin's, the client's choice, or that of the"
        " chosen server.",
    )
    forwarded_host: bool = setting(
        False, kinds.SWITCH, FORWARDING, "Send the client's Host as X-Forwarded-Host."
    )
    forward_header: list[str] = setting(
        [],
        kinds.TOKEN,
        FORWARDING,
        "Request field to send on although it is one that gateways write (CF-Connecting-IP,"
        " X-Real-IP and their like), which are dropped; it is not in the key.",
    )
    trusted_proxies: list[IPv4Network | IPv6Network] = setting(
        [], kinds.NETWORK, FORWARDING, "Network whose Forwarded and X-Forwarded-* fields are kept."
    )
    name: str = setting(
        "caching-proxy", kinds.TOKEN, FORWARDING, "Our name in Via and Cache-Status."
    )

    admin: bool = setting(True, kinds.SWITCH, CONTROL, "Do not serve the control API.")
    access_log: str | None = setting(
        None, kinds.LOG_FILE, CONTROL, "File for a line a request; - is standard output."
    )
    log_level: str = setting(
        "info", kinds.choice("debug", "info", "warning", "error"), CONTROL, "What is logged."
    )

    load_balance: bool = setting(
        False, kinds.SWITCH, BALANCING, "Let the --servers answer instead of the origin."
    )
    servers: list[ServerAddress] = setting(
        [],
        kinds.SERVER,
        BALANCING,
        "A server: HOST:WEIGHT, HOST:PORT:WEIGHT or 'http://HOST:PORT weight=5'.",
    )
    strategy: str = setting(
        "weighted-round-robin",
        kinds.choice(
            "round-robin",
            "weighted-round-robin",
            "random",
            "weighted-random",
            "least-connections",
        ),
        BALANCING,
        "How a server is chosen.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        problems = []
        if self.load_balance and not self.servers:
            problems.append("--load-balance: there are no servers: name some with --servers")
        if 0 < self.slice < SLICE_MIN or self.slice > self.max_object:
            problems.append("--slice: use 64KB up to --max-object, or 0 to turn it off")
        if self.admin and self.port == self.admin_port != 0:
            problems.append(
                f"--admin-port: {self.admin_port} is --port already: choose another one"
            )
        _raise_any(problems)
        return self
