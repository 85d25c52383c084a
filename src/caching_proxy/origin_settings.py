"""How an origin is reached, and its servers: declared once, for all origins and for each."""

from __future__ import annotations

from pydantic import model_validator
from typing_extensions import Self

from caching_proxy import setting_kinds as kinds
from caching_proxy.declared import Declared, disagree, setting
from caching_proxy.load_balancer.server_address import ServerAddress
from caching_proxy.setting_groups import BALANCING, DAY, FAILING, HEALTH, HOUR, MINUTE, ORIGIN

MANY = 1_000_000


class OriginSettings(Declared):
    """How an origin is reached; what is set for all is the default for each."""

    origin_ca: kinds.Authorities | None = setting(
        None,
        kinds.AUTHORITIES,
        ORIGIN,
        "PEM file of the authorities that an https origin is verified with; without it, the"
        " system's.",
    )
    origin_insecure: bool = setting(
        False, kinds.SWITCH, ORIGIN, "Do not verify the certificate of an https origin."
    )
    origin_keepalive: int = setting(
        256,
        kinds.whole(0, 65535, "connections"),
        ORIGIN,
        "Idle connections to the origin, or to each of its servers, to keep.",
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
    origin_deadline: float = setting(
        0.0,
        kinds.seconds(0, DAY),
        ORIGIN,
        "Time until a response head is there in all, waiting for a free server and retries"
        " included; then 504. 0: as long as its parts take.",
    )
    resolve_interval: float = setting(
        10.0, kinds.seconds(0.001, DAY), ORIGIN, "How long an answer of DNS about it is used."
    )

    load_balance: bool = setting(
        False, kinds.SWITCH, BALANCING, "Let the --servers answer instead of the origin."
    )
    servers: list[ServerAddress] = setting(
        [],
        kinds.SERVER,
        BALANCING,
        "A server: HOST:WEIGHT, HOST:PORT:WEIGHT or 'http://HOST:PORT weight=5'; behind it, after"
        " a space each, max_connections=N and backup.",
    )
    strategy: str = setting(
        "weighted-round-robin",
        kinds.choice(
            *("round-robin", "weighted-round-robin", "random", "weighted-random"),
            *("least-connections", "power-of-two-choices", "least-latency"),
            *("consistent-hash", "sticky-cookie"),
        ),
        BALANCING,
        "How a server is chosen.",
    )
    hash_by: str = setting(
        "url",
        kinds.HASHED,
        BALANCING,
        "What of a request consistent-hash goes by: url, address (of who connects), header:NAME or"
        " cookie:NAME.",
    )
    sticky_cookie: str = setting(
        "caching-proxy-server",
        kinds.TOKEN,
        BALANCING,
        "Name of the cookie by which sticky-cookie knows the server of a session.",
    )
    sticky_secret: str | None = setting(
        None,
        kinds.SECRET,
        BALANCING,
        "Secret with which the cookie's value is made: all proxies of these servers need the same."
        " Without one, whoever guesses the address of a server can tell by the cookie that it is"
        " right. Best as file:PATH or in the environment.",
        environment="CACHING_PROXY_STICKY_SECRET",
    )
    server_connections: int = setting(
        0,
        kinds.whole(0, MANY, "requests"),
        BALANCING,
        "Most requests at a time to a server that names no max_connections of its own; 0: any.",
    )
    queue_size: int = setting(
        1024,
        kinds.whole(0, MANY, "requests"),
        BALANCING,
        "Requests that may wait while every server is at its limit; then 503.",
    )
    queue_timeout: float = setting(
        5.0, kinds.seconds(0.001, HOUR), BALANCING, "How long they wait; then 503."
    )
    slow_start: float = setting(
        10.0,
        kinds.seconds(0, HOUR),
        BALANCING,
        "Time in which a server that has recovered gets more and more, up to its share.",
    )

    health_check: str = setting(
        "tcp",
        kinds.choice("off", "tcp", "http"),
        HEALTH,
        "How servers are checked: whether they take a connection, or what they answer.",
    )
    health_path: str = setting("/", kinds.TARGET, HEALTH, "What http asks for.")
    health_method: str = setting(
        "GET", kinds.choice("GET", "HEAD", "OPTIONS"), HEALTH, "The method that http asks with."
    )
    health_host: str | None = setting(
        None, kinds.AUTHORITY, HEALTH, "The Host that http asks with; without it, the origin's."
    )
    health_status: list[str] = setting(
        ["2xx", "3xx"], kinds.STATUS, HEALTH, "A status that passes, such as 204 or 2xx."
    )
    health_body: str = setting(
        "", kinds.PHRASE, HEALTH, "A text that has to be in the first 64 KB of the answer."
    )
    health_interval: float = setting(
        5.0, kinds.seconds(0.01, DAY), HEALTH, "Time between two checks of a server."
    )
    health_fast_interval: float = setting(
        1.0, kinds.seconds(0.01, DAY), HEALTH, "The same while it is down, or on its way there."
    )
    health_timeout: float = setting(
        2.0, kinds.seconds(0.001, HOUR), HEALTH, "Time for a check; then it has failed."
    )
    health_rise: int = setting(
        2, kinds.whole(1, 1000, "checks"), HEALTH, "Checks in a row that make a server up again."
    )
    health_fall: int = setting(
        3, kinds.whole(1, 1000, "checks"), HEALTH, "Failed checks in a row that make it down."
    )

    eject_after: int = setting(
        3,
        kinds.whole(0, 1000, "requests"),
        FAILING,
        "Requests in a row that get no response, a broken one, or 502, 503 or 504 from a server"
        " before it is left out for a time; 0: however many.",
    )
    eject_gap: int = setting(
        20,
        kinds.whole(0, 100, "%"),
        FAILING,
        "Leave a server out as well when its share of failed requests (500 too) is greater by this"
        " than that of the others; 0: never.",
    )
    eject_time: float = setting(
        5.0,
        kinds.seconds(0.01, HOUR),
        FAILING,
        "How long a server is left out the first time; each time in a row doubles it.",
    )
    eject_time_max: float = setting(
        MINUTE, kinds.seconds(0.01, DAY), FAILING, "The longest that it is left out."
    )
    eject_max: int = setting(
        70,
        kinds.whole(0, 100, "%"),
        FAILING,
        "Greatest share of the servers that is left out at a time for what their requests come to.",
    )
    panic_threshold: int = setting(
        10,
        kinds.whole(0, 100, "%"),
        FAILING,
        "When a smaller share of the servers is healthy, or none, all are used.",
    )
    circuit_error_rate: int = setting(
        50,
        kinds.whole(0, 100, "%"),
        FAILING,
        "Share of the requests of 10 s that get no response, a broken one, or 502, 503 or 504 from"
        " a server, and of those that are too slow, that opens its circuit; 0: none does.",
    )
    circuit_min_requests: int = setting(
        20, kinds.whole(1, MANY, "requests"), FAILING, "With fewer in 10 s it stays closed."
    )
    circuit_latency: float = setting(
        0.0,
        kinds.seconds(0, HOUR),
        FAILING,
        "Response heads that take longer are too slow; 0: any.",
    )
    circuit_open_time: float = setting(
        5.0, kinds.seconds(0.01, HOUR), FAILING, "How long a circuit is open before it is tried."
    )
    circuit_trials: int = setting(
        3,
        kinds.whole(1, 1000, "requests"),
        FAILING,
        "Requests that try a server whose circuit is half-open; if all go well it closes.",
    )
    retries: int = setting(
        2,
        kinds.whole(0, 100, "retries"),
        FAILING,
        "How often a request is sent again, each time to another server, where that is safe.",
    )
    retry_status: list[str] = setting(
        ["500", "502", "503", "504"],
        kinds.STATUS,
        FAILING,
        "Status with which an idempotent request is sent to another server.",
    )
    retry_budget: int = setting(
        20,
        kinds.whole(0, 100, "%"),
        FAILING,
        "Share of the requests of 10 s that may be sent again ...",
    )
    retry_floor: int = setting(
        10, kinds.whole(0, MANY, "retries a second"), FAILING, "... and so many in any case."
    )
    hedge: bool = setting(
        False,
        kinds.SWITCH,
        FAILING,
        "Send a GET that takes longer than 95% of the others to a second server as well; the first"
        " answer counts. It is a retry.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.eject_time > self.eject_time_max:
            disagree(
                ("eject_time", "eject_time_max"),
                f"{self.eject_time:g} s is more than the longest, {self.eject_time_max:g} s: make"
                " one fit the other",
            )
        if self.health_body and self.health_method == "HEAD":
            disagree(
                ("health_body", "health_method"),
                "an answer to HEAD has no body: ask with GET, or leave health_body out",
            )
        return self

    def server_limit(self, server: ServerAddress) -> int:
        """The most requests that a server gets at a time; 0: any."""
        return self.server_connections if server.max_connections is None else server.max_connections
