"""The configuration of command line, environment, file and defaults, and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from caching_proxy.configuration import (
    DEFAULT,
    DEFAULT_FILE,
    MOST_STRANGE,
    Configuration,
    ConfigurationFile,
    Sources,
    configure,
    find_file,
)
from caching_proxy.declared import SettingsError
from caching_proxy.references import MAX_FILE

NAME = "proxy.toml"
ORIGIN = 'origin = "http://one.example"\n'
ROUTE = ORIGIN + "[[routes]]\n"
NAMED = '[origins.api]\nurl = "http://api.example"\n'
"""An origin of its own, in two lines."""


def read(text: str, environment: dict[str, str] | None = None, **given: Any) -> Configuration:
    return configure(given, environment or {}, ConfigurationFile(NAME, text))


def problems(text: str, environment: dict[str, str] | None = None, **given: Any) -> list[str]:
    with pytest.raises(SettingsError) as error:
        read(text, environment, **given)
    return error.value.lines


# -- who wins


@pytest.mark.parametrize(
    ("given", "environment", "text", "port", "source"),
    [
        ({"port": "1"}, {"PROXY_PORT": "2"}, "port = 3\n", 1, "command line"),
        ({"port": "1"}, {}, "port = 3\n", 1, "command line"),
        ({}, {"PROXY_PORT": "2"}, "port = 3\n", 2, "environment PROXY_PORT"),
        ({}, {"PROXY_PORT": ""}, "port = 3\n", 3, "proxy.toml:1"),
        ({}, {}, "port = 3\n", 3, "proxy.toml:1"),
        ({}, {}, "", 3000, None),
    ],
)
def test_the_command_line_wins_over_the_environment_that_over_the_file_that_over_the_default(
    given: dict[str, Any], environment: dict[str, str], text: str, port: int, source: str | None
) -> None:
    configuration = read(text + ORIGIN, environment, **given)
    assert configuration.settings.port == port
    assert configuration.sources.get("port") == source


def test_what_wins_holds_for_every_route_and_origin() -> None:
    text = f"{ORIGIN}cache_ttl = 3\nconnect_timeout = 4\n[[routes]]\npath = '/a'\n{NAMED}"
    routes = [read(text).routes, read(text, {"CACHE_TTL": "2"}).routes]
    routes.append(read(text, {"CACHE_TTL": "2"}, cache_ttl="1").routes)
    assert [[route.cache_ttl for route in found] for found in routes] == [[3, 3], [2, 2], [1, 1]]
    origins = read(text, connect_timeout="9").origins
    assert [origins["api"].connect_timeout, origins[DEFAULT].connect_timeout] == [9, 9]


def test_what_a_table_says_holds_there_whatever_is_set_for_all() -> None:
    text = f"""{ORIGIN}cache_ttl = 3
key_header = ["X-All"]
[[routes]]
route = "own"
cache_ttl = 5
key_header = []
[[routes]]
route = "as-all"
path = "/b"
{NAMED}connect_timeout = 7
"""
    configuration = read(text, {"CACHE_TTL": "2"}, cache_ttl="1", connect_timeout="9")
    routes = {route.route: (route.cache_ttl, route.key_header) for route in configuration.routes}
    assert routes == {"own": (5, []), "as-all": (1, ["X-All"]), DEFAULT: (1, ["X-All"])}
    assert configuration.settings.cache_ttl == 1
    timeouts = {name: origin.connect_timeout for name, origin in configuration.origins.items()}
    assert timeouts == {"api": 7, DEFAULT: 9}


def test_without_a_file_command_line_and_environment_tell_all() -> None:
    configuration = configure({"origin": "http://one.example"}, {"PROXY_PORT": "4000"})
    assert configuration.settings.port == 4000
    assert configuration.origins[DEFAULT].url == "http://one.example"
    assert [route.route for route in configuration.routes] == [DEFAULT]
    assert configuration.listeners == ()
    assert configuration.file is None


def test_the_file_is_kept() -> None:
    assert read(ORIGIN).file == ConfigurationFile(NAME, ORIGIN)


# -- names


def test_a_file_that_changes_after_it_was_read_has_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(ORIGIN)
    sources = Sources({}, {}, path)
    read = sources.load()
    assert read.stamp == sources.stamp() == sources.load().stamp
    (tmp_path / "new").write_text(ORIGIN)
    (tmp_path / "new").replace(path)
    assert sources.stamp() != read.stamp


def test_names_may_have_dashes_as_on_the_command_line() -> None:
    text = f"""{ORIGIN}cache-ttl = 3
[[listeners]]
address = ":8080"
[[routes]]
route = "a"
stale-if-error = 4
strip-prefix = "/a"
request-headers = {{ set = {{ X-A = "b-c" }} }}
[origins.my-api]
url = "http://api.example"
connect-timeout = 5
origin-head-timeout = 6
"""
    configuration = read(text)
    route = configuration.routes[0]
    assert (route.cache_ttl, route.stale_if_error, route.strip_prefix) == (3, 4, "/a")
    assert route.request_headers is not None
    assert route.request_headers.set == {"X-A": "b-c"}
    origin = configuration.origins["my-api"]
    assert (origin.connect_timeout, origin.origin_head_timeout) == (5, 6)


def test_settings_of_an_origin_need_not_say_that_they_are_an_origins(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authorities))
    text = f"""{NAMED}ca = {str(authorities)!r}
insecure = true
keepalive = 1
idle_timeout = 2
head-timeout = 3
body_timeout = 4
connect_timeout = 5
resolve-interval = 6
[[routes]]
origin = "api"
"""
    origin = read(text).origins["api"]
    assert origin.origin_ca is not None and origin.origin_insecure
    assert origin.origin_ca.path == authorities
    assert (origin.origin_keepalive, origin.origin_idle_timeout) == (1, 2)
    assert (origin.origin_head_timeout, origin.origin_body_timeout) == (3, 4)
    assert (origin.connect_timeout, origin.resolve_interval) == (5, 6)


def test_long_names_do_as_well() -> None:
    text = f"{NAMED}origin_keepalive = 1\norigin_insecure = true\n[[routes]]\norigin = 'api'\n"
    origin = read(text).origins["api"]
    assert (origin.origin_keepalive, origin.origin_insecure) == (1, True)


def test_short_names_are_none_for_all() -> None:
    (line,) = problems(ORIGIN + "idle_timeout = 5")
    assert line.startswith("proxy.toml:2: idle_timeout: there is no such setting")


def test_a_list_of_one_may_be_given_without_brackets() -> None:
    text = ROUTE + 'path = "/a"\nhost = "a.example"\nmethod = "GET"\nquery_drop = "utm_*"\n'
    route = read(text).routes[0]
    assert (route.path, route.host, route.method) == (["/a"], ["a.example"], ["GET"])
    assert route.query_drop == ["utm_*"]


def test_routes_without_a_name_have_their_number() -> None:
    text = f'{ROUTE}[[routes]]\nroute = "b"\npath = "/b"\n[[routes]]\npath = "/c"\n'
    names = [route.route for route in read(text).routes]
    assert names == ["routes-0", "b", "routes-2", DEFAULT]


# -- the default origin


@pytest.mark.parametrize(
    "text", [ORIGIN, '[origins.default]\nurl = "http://one.example"\n'], ids=["origin", "table"]
)
def test_the_default_origin_gets_what_no_route_takes(text: str) -> None:
    configuration = read(text + '[[routes]]\nroute = "a"\npath = "/a"\n')
    assert configuration.origins[DEFAULT].url == "http://one.example"
    assert [route.route for route in configuration.routes] == ["a", DEFAULT]
    assert [route.origin for route in configuration.routes] == [None, None]
    assert configuration.routes[-1].path == []


def test_without_a_default_origin_there_is_no_default_route() -> None:
    configuration = read(NAMED + '[[routes]]\norigin = "api"\nroute = "a"\n')
    assert [(route.route, route.origin) for route in configuration.routes] == [("a", "api")]
    assert set(configuration.origins) == {"api"}


def test_the_command_line_may_give_the_default_origin() -> None:
    configuration = read(NAMED + '[[routes]]\norigin = "api"\n', origin="http://two.example")
    assert configuration.origins[DEFAULT].url == "http://two.example"
    assert configuration.origins["api"].url == "http://api.example"


def test_the_default_origin_takes_what_is_set_for_all() -> None:
    configuration = read(ORIGIN + "origin_keepalive = 7\n")
    assert configuration.origins[DEFAULT].origin_keepalive == 7


def test_a_file_without_an_origin_wants_one() -> None:
    (line,) = problems("cache_ttl = 5\n")
    assert line.startswith("proxy.toml: no origin is there")
    assert "https://example.com" in line


# -- where to listen

LISTENERS = '[[listeners]]\naddress = ":8080"\nbacklog = 7\n[[listeners]]\naddress = "[::1]:8081"\n'


def test_the_file_may_tell_where_to_listen() -> None:
    listeners = read(ORIGIN + LISTENERS).listeners
    assert [listener.address for listener in listeners] == [":8080", "[::1]:8081"]
    assert [listener.backlog for listener in listeners] == [7, 4096]


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        ({}, {"port": "9000"}),
        ({}, {"host": ["127.0.0.1"]}),
        ({"PROXY_PORT": "9000"}, {}),
        ({"PROXY_PORT": "9000"}, {"port": "9001"}),
    ],
)
@pytest.mark.parametrize("extra", ["", 'host = "::1"\n', "port = 5\n"])
def test_command_line_and_environment_go_before_the_listeners_of_the_file(
    environment: dict[str, str], given: dict[str, Any], extra: str
) -> None:
    configuration = read(ORIGIN + extra + LISTENERS, environment, **given)
    assert configuration.listeners == ()


def test_an_empty_variable_leaves_the_listeners_of_the_file() -> None:
    assert len(read(ORIGIN + LISTENERS, {"PROXY_PORT": ""}).listeners) == 2


def test_listeners_that_do_not_count_have_to_be_right_all_the_same() -> None:
    (line,) = problems(ORIGIN + "[[listeners]]\naddress = '80'\n", port="9000")
    assert line.startswith("proxy.toml:3: listeners[0].address: '80' is not an address")


# -- what is there in vain


def test_a_configuration_in_order_gives_no_warnings() -> None:
    text = f'{ORIGIN}[[routes]]\npath = "/a"\norigin = "api"\n{NAMED}'
    assert read(text).warnings() == []
    assert read(ORIGIN).warnings() == []


def test_an_origin_that_no_route_uses_is_told() -> None:
    text = f'{ORIGIN}{NAMED}[origins.spare]\nurl = "http://spare.example"\n'
    warnings = read(text + '[[routes]]\norigin = "api"\npath = "/a"\n').warnings()
    assert warnings == ["the origin spare is used by no route"]


@pytest.mark.parametrize("condition", ["", 'path = "/"\n', 'path = ["/"]\n', "header = {}\n"])
def test_routes_behind_one_that_takes_everything_are_told(condition: str) -> None:
    text = ORIGIN + '[[routes]]\nroute = "all"\n' + condition
    text += '[[routes]]\nroute = "b"\npath = "/b"\n[[routes]]\nroute = "c"\n'
    warnings = read(text).warnings()
    assert warnings == ["the route all takes everything: b, c, default get nothing"]


@pytest.mark.parametrize(
    "condition",
    [
        'path = "/a"',
        'host = "a.example"',
        'method = "GET"',
        'pattern = "/a.*"',
        "header = { X-A = true }",
    ],
)
def test_routes_with_a_condition_leave_something(condition: str) -> None:
    text = f'{ROUTE}{condition}\n[[routes]]\npath = "/b"\n'
    assert read(text).warnings() == []


def test_the_last_route_may_take_everything() -> None:
    """Then nothing is left for the default route: that is no mistake."""
    text = ORIGIN + '[[routes]]\npath = "/b"\n[[routes]]\nroute = "rest"\n'
    assert read(text).warnings() == []
    named = NAMED + '[[routes]]\norigin = "api"\n'
    assert read(named).warnings() == []


# -- what one worker gets


@pytest.mark.parametrize(
    ("workers", "limits", "queue", "floor"),
    [(1, [5, 8, 0], 1024, 10), (3, [2, 3, 0], 342, 4), (20, [1, 1, 0], 52, 1)],
)
def test_a_worker_gets_its_share_of_what_servers_take(
    workers: int, limits: list[int], queue: int, floor: int
) -> None:
    text = (
        "load_balance = true\nserver_connections = 8\n"
        "servers = ['a:1 max_connections=5', 'b:1', 'c:1 max_connections=0']\n"
    )
    origin = read(ORIGIN + text).share(workers).origins[DEFAULT]
    assert [origin.server_limit(server) for server in origin.servers] == limits
    assert (origin.queue_size, origin.retry_floor) == (queue, floor)


@pytest.mark.parametrize(
    ("workers", "memory", "connections"), [(1, 1000, 10), (3, 333, 4), (4, 250, 3), (20, 50, 1)]
)
def test_a_worker_gets_its_share(workers: int, memory: int, connections: int) -> None:
    whole = read(
        ORIGIN + "memory = 1000\nmax_connections = 10\ncache_ttl = 5\n[[listeners]]\n"
        'address = ":80"\n'
    )
    share = whole.share(workers)
    assert (share.settings.memory, share.settings.max_connections) == (memory, connections)
    assert share.settings.cache_ttl == 5
    assert (share.routes, share.listeners) == (whole.routes, whole.listeners)
    assert (whole.settings.memory, whole.settings.max_connections) == (1000, 10)


def test_a_share_of_any_number_of_connections_is_any_number() -> None:
    assert read(ORIGIN).share(2).settings.max_connections is None


# -- reading files


def test_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(ORIGIN + "cache_ttl = 1\n")
    sources = Sources({"port": "4000"}, {}, path)
    first = sources.load()
    path.write_text(ORIGIN + "cache_ttl = 2\n")
    assert [first.settings.cache_ttl, sources.load().settings.cache_ttl] == [1, 2]
    assert sources.load().settings.port == 4000
    assert sources.load().sources["cache_ttl"] == f"{path}:2"


def test_without_a_path_there_is_no_file() -> None:
    assert Sources({"origin": "http://one.example"}, {}).load().file is None


def test_the_file_of_the_default_name_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file(None) is None
    assert find_file("other.toml") == Path("other.toml")
    Path(DEFAULT_FILE).touch()
    assert find_file(None) == Path(DEFAULT_FILE)
    assert find_file("other.toml") == Path("other.toml")


def unread(path: Path) -> str:
    with pytest.raises(SettingsError) as error:
        ConfigurationFile.read(path)
    (line,) = error.value.lines
    return line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert unread(missing) == (
        f"{missing}: No such file or directory: name a file that can be read with --config"
    )
    assert unread(tmp_path).startswith(f"{tmp_path}: Is a directory: ")
    assert unread(missing / "below").startswith(f"{missing / 'below'}: ")


@pytest.mark.parametrize(
    ("octets", "line"),
    [(b"\xff", 1), (b"a = 1\n# caf\xe9\n", 2), (b"\r\n\r\na = '\xc3\x28'", 3), (b"\n\xe2\x82", 2)],
)
def test_a_file_in_another_encoding(tmp_path: Path, octets: bytes, line: int) -> None:
    path = tmp_path / NAME
    path.write_bytes(octets)
    assert unread(path) == f"{path}:{line}: it is not UTF-8: save it as that"


def test_a_file_may_be_so_long(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("#" * MAX_FILE)
    assert len(ConfigurationFile.read(path).text) == MAX_FILE
    path.write_text("#" * (MAX_FILE + 1))
    assert unread(path) == f"{path}: it is larger than 1048576 bytes: shorten it"
    path.write_text("#" + "é" * (MAX_FILE // 2))
    assert "it is larger" in unread(path)


# -- what is wrong


@dataclass(frozen=True)
class Wrong:
    """A wrong file: on which line, and a part of what is said about it."""

    name: str
    text: str
    line: int
    told: str


WRONG = [
    # values of one setting
    Wrong("number as a word", ORIGIN + 'port = "http"', 2, "port: 'http' is not a whole number"),
    Wrong("number with a fraction", ORIGIN + "port = 80.5", 2, "80.5 is not a whole number"),
    Wrong("number as a switch", ORIGIN + "max_fields = true", 2, "True is not a number"),
    Wrong("number as a list", ORIGIN + "max_fields = [1]", 2, "a list is not a number"),
    Wrong("number as a table", ORIGIN + "[max_fields]\na = 1", 2, "a table is not a number"),
    Wrong(
        "number too great", ORIGIN + "\nport = 65536", 3, "65536 is out of range: use 0 to 65535"
    ),
    Wrong("number too small", ORIGIN + "max_variants = 0", 2, "0 is out of range: use 1 to 10000"),
    Wrong("negative number", ORIGIN + "max_ranges = -1", 2, "-1 is out of range: use 0 to 1000"),
    Wrong("size in another unit", ORIGIN + "memory = '5 apples'", 2, "'5 apples' is not a size"),
    Wrong("size as a switch", ORIGIN + "max_object = false", 2, "False is not a number"),
    Wrong("size as a list", ORIGIN + "max_object = ['1MB']", 2, "a list is not a number"),
    Wrong("size as a table", ORIGIN + "memory = { min = 1 }", 2, "a table is not a number"),
    Wrong("size too great", ORIGIN + "max_object = '3GB'", 2, "out of range: use 0 to 2GB"),
    Wrong("size too small", ORIGIN + "max_head = 10", 2, "10 is out of range: use 1KB to 16MB"),
    Wrong("duration as a word", ORIGIN + "cache_ttl = 'soon'", 2, "'soon' is not a duration"),
    Wrong("duration of two units", ORIGIN + "cache_ttl = '1h30m'", 2, "'1h30m' is not a duration"),
    Wrong("duration as a switch", ORIGIN + "cache_ttl = true", 2, "True is not a number"),
    Wrong("duration as a list", ORIGIN + "grace = [\n1]", 2, "a list is not a number"),
    Wrong("duration as a table", ORIGIN + "grace = {s = 1}", 2, "a table is not a number"),
    Wrong("duration as a date", ORIGIN + "grace = 2024-01-01", 2, "is not a number"),
    Wrong("negative duration", ORIGIN + "cache_ttl = -1", 2, "-1 is out of range: use 0 to"),
    Wrong("duration too small", ORIGIN + "head_timeout = 0", 2, "0 is out of range: use 0.001 to"),
    Wrong("duration not a number", ORIGIN + "cache_ttl = nan", 2, "nan is not a duration"),
    Wrong("duration without an end", ORIGIN + "cache_ttl = inf", 2, "inf is not a duration"),
    Wrong("switch as a number", ORIGIN + "cache = 1", 2, "1 is not a switch: write one"),
    Wrong("switch as a word", ORIGIN + "admin = 'yes'", 2, "'yes' is not a switch"),
    Wrong("switch as a list", ORIGIN + "query_sort = []", 2, "a list is not a switch"),
    Wrong("switch as a table", ORIGIN + "[query_sort]", 2, "a table is not a switch"),
    Wrong("no such choice", ORIGIN + "log_level = 'loud'", 2, "use debug, info, warning or error"),
    Wrong("choice as a number", ORIGIN + "host_header = 5", 2, "5 is not a text"),
    Wrong("choice in a list", ORIGIN + "cache_method = ['POST', 'get']", 2, "use POST or PUT"),
    Wrong("no network", ORIGIN + "purge_from = ['here']", 2, "'here' is not a network"),
    Wrong("not the start of a network", ORIGIN + "trusted_proxies = '10.1.0.0/8'", 2, "10.0.0.0/8"),
    Wrong("network as a number", ORIGIN + "trusted_proxies = 1.5", 2, "1.5 is not a text"),
    Wrong("no server", ORIGIN + "servers = ['one:5', 'two:0']", 2, "weight 0 in 'two:0'"),
    Wrong("no field name", ORIGIN + "key_header = ['X A']", 2, "'X A' is not a token"),
    Wrong("no cookie name", ORIGIN + "key_cookie = 'a=b'", 2, "'a=b' is not a token"),
    Wrong("no parameter", ORIGIN + "query_drop = ['a', '*']", 2, "'*' is no parameter"),
    Wrong(
        "parameter with a star inside", ORIGIN + "query_keep = 'a*b'", 2, "'a*b' is no parameter"
    ),
    Wrong("no server name", ORIGIN + "server_name = 'a b'", 2, "'a b' is not a server name"),
    Wrong("no address", ORIGIN + "host = 'http://a'", 2, "'http://a' is not an address"),
    Wrong("no workers", ORIGIN + "workers = 0", 2, "0 is no number of workers"),
    Wrong("workers as a word", ORIGIN + "workers = 'many'", 2, "use 1 to 1024, or auto"),
    Wrong("no user", ORIGIN + "user = 'a b'", 2, "'a b' is not a user"),
    Wrong(
        "short secret", ORIGIN + "admin_token = 'abc'", 2, "admin_token: the secret is too short"
    ),
    Wrong(
        "secret in no file", ORIGIN + "admin_token = 'file:/no/f'", 2, "there is no file '/no/f'"
    ),
    Wrong("no file", ORIGIN + "origin_ca = '/no/where'", 2, "there is no file '/no/where'"),
    Wrong("no folder for the log", ORIGIN + "access_log = '/no/where/a'", 2, "cannot be a file"),
    Wrong("no folder for the socket", ORIGIN + "unix_socket = '/no/a'", 2, "'/no' is no folder"),
    Wrong("no origin", "origin = 'ftp://a'", 1, "origin: 'ftp://a' is not an origin"),
    Wrong("origin with a query", "origin = 'http://a/?b'", 1, "has a query or fragment"),
    Wrong("origin as a number", "origin = 5", 1, "5 is not a text"),
    Wrong("origin as a table", "\n[origin]\nurl = 'http://a'", 2, "is not a text"),
    Wrong("origin as a list", "origin = ['http://a']", 1, "is not a text"),
    # names
    Wrong(
        "no such setting",
        ORIGIN + "prot = 80",
        2,
        "prot: there is no such setting: did you mean `port`?",
    ),
    Wrong(
        "nothing like it", ORIGIN + "zzzz = 80", 2, "zzzz: there is no such setting: leave it out"
    ),
    Wrong("no such table", ORIGIN + "[[route]]\npath = '/a'", 2, "did you mean `routes`?"),
    Wrong("no such table at all", ORIGIN + "[logging]\nlevel = 1", 2, "logging: there is no such"),
    Wrong("of an origin, for all", ORIGIN + "url = 'http://a'", 2, "It belongs to [origins.NAME]"),
    Wrong("of a route, for all", ORIGIN + "strip_prefix = '/a'", 2, "It belongs to [[routes]]"),
    Wrong(
        "of a listener, for all",
        ORIGIN + "addres = ':80'",
        2,
        "did you mean `address`? It belongs to [[listeners]]",
    ),
    Wrong(
        "none of a listener",
        ORIGIN + "[[listeners]]\naddress = ':1'\nbaklog = 5",
        4,
        "listeners[0].baklog: there is no such setting: did you mean `backlog`?",
    ),
    Wrong(
        "for all, in a listener",
        ORIGIN + "[[listeners]]\naddress = ':1'\nport = 5",
        4,
        "`port`? It belongs to the top level",
    ),
    Wrong("none of an origin", ORIGIN + NAMED + "connect_timout = 1", 4, "`connect_timeout`?"),
    Wrong(
        "of a route, in an origin",
        ORIGIN + NAMED + "cache_ttl = 1",
        4,
        "origins.api.cache_ttl: there is no such setting: did you mean `cache_ttl`? It belongs"
        " to [[routes]]",
    ),
    Wrong(
        "none of a route",
        ROUTE + "pth = '/a'",
        3,
        "routes[0].pth: there is no such setting: did you mean `path`?",
    ),
    Wrong("of an origin, in a route", ROUTE + "\nconnect_timeout = 1", 4, "It belongs to [origins"),
    Wrong("for all, in a route", ROUTE + "memory = 1", 3, "It belongs to the top level"),
    Wrong(
        "none of a rule",
        ROUTE + "[[routes.ttl]]\nttl = 1\n[[routes.ttl]]\nstatuss = 1",
        6,
        "routes[0].ttl[1].statuss: there is no such setting: did you mean `status`?",
    ),
    Wrong(
        "none of a bypass",
        ROUTE + "bypass = [\n{cookie='a'},\n{cookies='a', path='/'}]",
        5,
        "routes[0].bypass[1].cookies: there is no such setting: did you mean `cookie`?",
    ),
    Wrong(
        "none of header changes",
        ROUTE + "[routes.request_headers]\nremov = 'a'",
        4,
        "routes[0].request_headers.remov: there is no such setting: did you mean `remove`?",
    ),
    # tables
    Wrong(
        "listeners as a table",
        ORIGIN + "[listeners]\naddress = ':80'",
        2,
        "listeners: it is no list of tables: write [[listeners]]",
    ),
    Wrong("listeners as a text", ORIGIN + "listeners = ':80'", 2, "it is no list of tables"),
    Wrong(
        "a listener as a text",
        ORIGIN + "listeners = [{address=':1'},\n':80']",
        3,
        "listeners[1]: it is no table",
    ),
    Wrong("routes as a table", ORIGIN + "[routes]\npath = '/a'", 2, "routes: it is no list"),
    Wrong("routes as a number", ORIGIN + "routes = 5", 2, "write [[routes]]"),
    Wrong("a route as a text", ORIGIN + "routes = ['/a']", 2, "routes[0]: it is no table"),
    Wrong(
        "origins as a list",
        ORIGIN + "[[origins]]\nurl = 'http://a'",
        2,
        "origins: it is no table: write [origins.NAME]",
    ),
    Wrong("origins as a text", ORIGIN + "origins = 'http://a'", 2, "origins: it is no table"),
    Wrong(
        "an origin as a text",
        ORIGIN + "[origins]\n\napi = 'http://a'",
        4,
        "origins.api: it is no table: write [origins.api]",
    ),
    Wrong("an origin as a list", ORIGIN + "[[origins.api]]\nurl = 'http://a'", 2, "it is no table"),
    Wrong(
        "rules as a table",
        ROUTE + "[routes.ttl]\nstatus = 404",
        3,
        "routes[0].ttl: a table is not a list of tables",
    ),
    Wrong("rules as a number", ROUTE + "ttl = 5", 3, "ttl: 5 is not a list of tables: write one"),
    Wrong("bypass as a switch", ROUTE + "bypass = true", 3, "True is not a list of tables"),
    Wrong("header as a text", ROUTE + "header = 'X-A'", 3, "this is not a table"),
    Wrong(
        "set as a list", ROUTE + "[routes.request_headers]\nset = ['a']", 4, "a list is not a table"
    ),
    Wrong("route as a number", ROUTE + "route = 5", 3, "routes[0].route: 5 is not a text"),
    # listeners and origins
    Wrong(
        "a port without a colon",
        ORIGIN + "[[listeners]]\naddress = '80'",
        3,
        "'80' is not an address: write :PORT",
    ),
    Wrong("no such port", ORIGIN + "[[listeners]]\naddress = ':65536'", 3, "is not an address"),
    Wrong("address as a number", ORIGIN + "[[listeners]]\naddress = 80", 3, "80 is not a text"),
    Wrong(
        "a socket in no folder",
        ORIGIN + "[[listeners]]\naddress = 'unix:/no/a'",
        3,
        "is no folder: create it",
    ),
    Wrong(
        "no address there",
        ORIGIN + "[[listeners]]\n\nbacklog = 5",
        2,
        "listeners[0]: address is missing: give it",
    ),
    Wrong(
        "backlog of none",
        ORIGIN + "[[listeners]]\naddress = ':1'\nbacklog = 0",
        4,
        "0 is out of range: use 1 to 65535",
    ),
    Wrong(
        "no url there",
        ORIGIN + "\n[origins.api]\nkeepalive = 5",
        3,
        "origins.api: url is missing: give it",
    ),
    Wrong(
        "no url",
        ORIGIN + "[origins.api]\nurl = 'api.example'",
        3,
        "origins.api.url: 'api.example' is not an origin",
    ),
    Wrong("url as a list", ORIGIN + "[origins.api]\nurl = [\n'http://a']", 3, "is not a text"),
    Wrong(
        "a short name's value",
        ORIGIN + NAMED + "keepalive = -1",
        4,
        "origins.api.origin_keepalive: -1 is out of range",
    ),
    Wrong(
        "balancing without servers",
        ORIGIN + NAMED + "load-balance = true",
        4,
        "origins.api.load_balance: there are no servers",
    ),
    Wrong("balancing without servers for all", ORIGIN + "load_balance = true", 2, "no servers"),
    Wrong(
        "two default origins",
        ORIGIN + "[origins.default]\nurl = 'http://a'",
        1,
        "origin: there is a table origins.default as well: leave one out",
    ),
    Wrong(
        "two ways to listen",
        ORIGIN + "port = 80\n\n" + LISTENERS,
        2,
        "port: there are [[listeners]] as well: leave one of them out",
    ),
    # routes
    Wrong("no route name", ROUTE + "route = 'a b'", 3, "'a b' is not a name"),
    Wrong("an empty route name", ROUTE + "route = ''", 3, "'' is not a name"),
    Wrong("a long route name", ROUTE + f"route = '{'a' * 65}'", 3, "is not a name: use up to 64"),
    Wrong("host with a port", ROUTE + "host = 'a.example:80'", 3, "'a.example:80' is not a host"),
    Wrong("any host", ROUTE + "host = ['a.example', '*']", 3, "'*' is not a host"),
    Wrong("host with a star inside", ROUTE + "host = 'a.*.example'", 3, "is not a host"),
    Wrong("relative path", ROUTE + "path = 'a'", 3, "'a' is not a path: begin with /"),
    Wrong("path with a query", ROUTE + "path = ['/a', '/a?b']", 3, "'/a?b' is not a path"),
    Wrong("path with a space", ROUTE + "path = '/a b'", 3, "'/a b' is not a path"),
    Wrong("path as a number", ROUTE + "path = 5", 3, "5 is not a text"),
    Wrong("prefix without a slash", ROUTE + "strip_prefix = 'a'", 3, "strip_prefix: 'a' is not a"),
    Wrong("prefix with a fragment", ROUTE + "add_prefix = '/a#b'", 3, "add_prefix: '/a#b' is not"),
    Wrong("bad pattern", ROUTE + "pattern = '('", 3, "'(' is not a regular expression"),
    Wrong(
        "pattern of other letters", ROUTE + "pattern = 'é'", 3, "'é' is not a regular expression"
    ),
    Wrong("method in small letters", ROUTE + "method = 'get'", 3, "write it in capital letters"),
    Wrong("no method", ROUTE + "method = ['GET', 'A B']", 3, "'A B' is not a token"),
    Wrong(
        "bad header pattern", ROUTE + "header = { X-A = '[' }", 3, "header: '[' is not a regular"
    ),
    Wrong("bad header name", ROUTE + "header = { 'X A' = 'a' }", 3, "'X A' is not a token"),
    Wrong(
        "no such origin",
        ROUTE + "\norigin = 'apo'\n" + NAMED,
        4,
        "routes[0].origin: there is no origin 'apo': did you mean `api`?",
    ),
    Wrong(
        "nothing like that origin",
        NAMED + "[[routes]]\norigin = 'zz'",
        4,
        "there is no origin 'zz': use one of api",
    ),
    Wrong(
        "no default origin",
        "\n" + NAMED + "[[routes]]\npath = '/a'",
        4,
        "routes[0]: it has no origin, nor is there a default one: name one of api",
    ),
    Wrong("no name of an origin", ROUTE + "origin = 'a b'", 3, "'a b' is not a name"),
    Wrong("origin of a route as a url", ROUTE + "origin = 'http://a'", 3, "is not a name"),
    Wrong(
        "rewrite alone",
        ROUTE + "rewrite = '/a'",
        3,
        "rewrite and rewrite_to belong together: give both",
    ),
    Wrong(
        "rewrite of no pattern",
        ROUTE + "rewrite = '['\nrewrite_to = '/'",
        3,
        "'[' is not a regular expression",
    ),
    Wrong(
        "rewrite to a missing group",
        ROUTE + "rewrite = '/(a)'\nrewrite_to = '/\\2'",
        4,
        "rewrite_to: '/\\\\2' does not fit rewrite",
    ),
    Wrong(
        "rewrite to a missing name",
        ROUTE + "rewrite = '/a'\nrewrite_to = '\\g<b>'",
        4,
        "does not fit rewrite (unknown group name 'b'): correct",
    ),
    Wrong(
        "rewrite to spaces",
        ROUTE + "rewrite = '/a'\nrewrite_to = '/a b'",
        4,
        "'/a b' is not visible ASCII",
    ),
    Wrong(
        "provisional status",
        ROUTE + "[[routes.ttl]]\nstatus = [200, 103]",
        4,
        "103 is not a final status",
    ),
    Wrong("class of statuses", ROUTE + "[[routes.ttl]]\nstatus = '1xx'", 4, "'1xx' is not a final"),
    Wrong("status as a switch", ROUTE + "[[routes.ttl]]\nstatus = true", 4, "True is not a text"),
    Wrong(
        "type without a subtype",
        ROUTE + "[[routes.ttl]]\ntype = 'image'",
        4,
        "'image' is not a media type",
    ),
    Wrong(
        "type with a parameter",
        ROUTE + "[[routes.ttl]]\ntype = 'text/html; a=b'",
        4,
        "is not a media type",
    ),
    Wrong(
        "any type", ROUTE + "[[routes.ttl]]\ntype = ['image/*', '*/*']", 4, "'*/*' is not a media"
    ),
    Wrong(
        "duration in a rule", ROUTE + "[[routes.ttl]]\nttl = 'x'", 4, "routes[0].ttl[0].ttl: 'x'"
    ),
    Wrong("negative override", ROUTE + "ttl = [{ override_ttl = -5 }]", 3, "-5 is out of range"),
    Wrong(
        "bypass without condition",
        ROUTE + "\n[[routes.bypass]]\n",
        4,
        "no condition is there: name a header, cookie, query or path",
    ),
    Wrong(
        "bypass by no cookie name",
        ROUTE + "bypass = [{cookie='a b*'}]",
        3,
        "'a b*' is not a name",
    ),
    Wrong(
        "bypass by a bad pattern",
        ROUTE + "[[routes.bypass]]\npath = '*'",
        4,
        "'*' is not a regular expression",
    ),
    Wrong("bypass by two fields", ROUTE + "bypass = [{header = ['a', 'b']}]", 3, "is not a text"),
    Wrong(
        "removal of framing",
        ROUTE + "[routes.request_headers]\nremove = 'HOST'",
        4,
        "routes[0].request_headers.remove: HOST is the proxy's own: leave it out",
    ),
    Wrong(
        "setting of framing",
        ROUTE + "response_headers = { set = { Content-Length = '5' } }",
        3,
        "response_headers.set: Content-Length is the proxy's own",
    ),
    Wrong(
        "adding of framing",
        ROUTE + "[routes.response_headers.add]\nVary = 'a'",
        3,
        "response_headers.add: Vary is the proxy's own",
    ),
    Wrong(
        "no name of a field",
        ROUTE + "[routes.request_headers]\nremove = ['a:']",
        4,
        "'a:***' is not a token",
    ),
    Wrong(
        "no name of a field to set",
        ROUTE + "request_headers = { set = { '' = 'a' } }",
        3,
        "'' is not a token",
    ),
    Wrong(
        "value of two lines",
        ROUTE + 'request_headers = { add = { A = "a\\nb" } }',
        3,
        "A: 'a\\nb' is not a field value",
    ),
    Wrong(
        "value as a number",
        ROUTE + "request_headers = { set = { A = 5 } }",
        3,
        "A: 5 is not a field value",
    ),
    Wrong(
        "value in a list",
        ROUTE + "[routes.request_headers.set]\nA = ['b']",
        3,
        "is not a field value",
    ),
    Wrong(
        "value of many scripts",
        ROUTE + "request_headers = { set = { A = '\u20ac' } }",
        3,
        "is not a field value",
    ),
    Wrong(
        "a setting for all, in a route", ROUTE + "cache_ttl = 'x'", 3, "routes[0].cache_ttl: 'x'"
    ),
    Wrong("in the second route", ROUTE + "[[routes]]\n\npath = 'b'", 5, "routes[1].path: 'b'"),
    Wrong(
        "under a name with dashes", ROUTE + "\nstale-if-error = 'x'", 4, "routes[0].stale_if_error"
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong.name))
@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["no-end", "lf", "crlf"])
def test_what_is_wrong_is_told_with_its_line_cause_and_cure(wrong: Wrong, end: str) -> None:
    text = wrong.text + end
    if end == "\r\n":
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    (line,) = problems(text)
    assert line.startswith(f"proxy.toml:{wrong.line}: ")
    assert wrong.told in line
    assert re.fullmatch(r"proxy\.toml:\d+: [^ ]+: .+: .+", line)


def test_the_kinds_are_each_another() -> None:
    assert (
        len({wrong.name for wrong in WRONG}) == len({wrong.text for wrong in WRONG}) == len(WRONG)
    )


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (ROUTE + "route = 'a'\n[[routes]]\nroute = 'a'", 5, "routes[1].route: a is another"),
        (ROUTE + "route = 'routes-1'\n[[routes]]\npath = '/a'", 4, "routes-1 is another route's"),
        (ROUTE + "route = 'default'", 3, "routes[0].route: default is another route's name"),
        (ORIGIN + "slice = '8KB'", 2, "do not fit: use 64KB up to --max-object"),
        (
            ORIGIN + "max_object = '1MB'\nslice = '2MB'",
            3,
            "slice: slices of 2097152 bytes do not fit: use 64KB up to",
        ),
        (
            ROUTE + "slice = '32MB'",
            3,
            "routes[0].slice: slices of 33554432 bytes do not fit: use 64KB up to",
        ),
        (
            ORIGIN + "max_object = '1MB'\n[[routes]]\nslice = '2MB'",
            4,
            "routes[0].slice: slices of 2097152 bytes do not fit: use 64KB",
        ),
    ],
)
def test_what_does_not_go_together_is_told_with_its_line(text: str, line: int, told: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"proxy.toml:{line}: ")
    assert told in problem


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("origin\n", 1),
        ("origin http://a\n", 1),
        ("\norigin = http://a\n", 2),
        (ORIGIN + "cache = True\n", 2),
        (ORIGIN + "cache = yes\n", 2),
        (ORIGIN + "port = 08\n", 2),
        (ORIGIN + "port = 1 memory = 2\n", 2),
        (ORIGIN + "cache_ttl = 5s\n", 2),
        (ORIGIN + "cache_ttl = 10m # ten minutes\n", 2),
        (ORIGIN + "key_header = 'a', 'b'\n", 2),
        (ORIGIN + 'name = "\\q"\n', 2),
        (ORIGIN + 'name = "\\ud800"\n', 2),
        (ORIGIN + "port = 1\nport = 2\n", 3),
        (ORIGIN + "[origins.a]\n\n[origins.a]\n", 4),
        (ORIGIN + "[origins.a\nurl = 'http://a'\n", 2),
        (ORIGIN + "[[routes]\npath = '/a'\n", 2),
        (ORIGIN + "[routes]\n[[routes]]\n", 3),
        (ORIGIN + "[[routes]]\n[routes]\n", 3),
        (ORIGIN + "[]\n", 2),
        (ORIGIN + "routes = []\n[[routes]]\n", 3),
        (ORIGIN + "header = { a = 1 b = 2 }\n", 2),
        (ORIGIN + "cache_ttl = 1.\n", 2),
        (ORIGIN + "= 5\n", 2),
        (ORIGIN + "a = 2024-13-01\n", 2),
        (ORIGIN + "a = 2024-02-30\n", 2),
        (ORIGIN + "a.b = 1\na.b.c = 2\n", 3),
        (ORIGIN + "# \x00\n", 2),
        (ORIGIN + "a = '\x1b'\n", 2),
        ("\ufefforigin = 'http://a'\n", 1),
        ("{}", 1),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(text: str, line: int) -> None:
    (problem,) = problems(text)
    assert problem.startswith("proxy.toml:")
    assert "it is not TOML" in problem
    assert re.search(rf"proxy\.toml:{line}:|\bline {line}\b", problem)


@pytest.mark.parametrize(
    "text", ["a = ", "a = [1,", 'a = """\nb', "a = {b = 1", "a = '", "a = 'b\n", "a"]
)
def test_a_document_that_ends_too_soon_is_not_toml(text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("proxy.toml:")
    assert "it is not TOML" in problem


def test_lists_nested_too_deeply_are_no_toml_that_is_read() -> None:
    assert problems("a = " + "[" * 5000) == [
        "proxy.toml:1: its values are nested too deeply: flatten them"
    ]


# -- many at once


def test_everything_wrong_is_told_at_once_in_the_order_of_lines() -> None:
    text = """max_fields = 0
[[routes]]
path = "a"
cache_ttl = "soon"
[[routes.ttl]]
status = ["99", 404, "abc"]
[[routes.bypass]]
[origins.api]
url = "api.example"
keepalive = -1
[[listeners]]
address = "80"
[origins.more]
timeout = 5
[[routes]]
origin = "apo"
[[routes]]
origin = "api"
request_headers = { remove = ["a b"], set = 5, put = 1 }
"""
    lines = problems(text)
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == sorted(numbers)
    assert numbers == [1, 2, 3, 4, 6, 6, 7, 9, 10, 12, 13, 14, 16, 19, 19, 19]
    assert len(set(lines)) == len(lines)
    for line in lines:
        assert re.fullmatch(r"proxy\.toml:\d+: [^ ]+: .+: .+", line), line


def test_lines_are_in_the_order_of_numbers() -> None:
    text = ORIGIN + "".join(f"unknown{number} = 1\n" for number in range(2, 13))
    assert [line.split(":")[1] for line in problems(text)] == [str(n) for n in range(2, 13)]


def test_what_command_line_and_environment_have_wrong_comes_first() -> None:
    lines = problems(
        "\n" + ORIGIN + "cache_ttl = 'x'\nmemory = 'y'\n", {"PROXY_PORT": "z"}, grace="v"
    )
    assert sorted(line.split(": ")[0] for line in lines[:2]) == ["--grace", "PROXY_PORT (--port)"]
    assert [line.split(": ")[0] for line in lines[2:]] == ["proxy.toml:3", "proxy.toml:4"]


def test_what_is_wrong_for_all_is_told_once() -> None:
    routes = '[[routes]]\npath = "/a"\n[[routes]]\npath = "/b"\n'
    text = "cache_ttl = 'x'\nconnect_timeout = 'y'\n" + ORIGIN + routes + NAMED
    assert [line.split(": ")[:2] for line in problems(text)] == [
        ["proxy.toml:1", "cache_ttl"],
        ["proxy.toml:2", "connect_timeout"],
    ]
    (line,) = problems(ORIGIN + routes + NAMED, {"CACHE_TTL": "x"})
    assert line.startswith("CACHE_TTL (--cache-ttl): 'x' is not a duration")
    (line,) = problems(ORIGIN + routes + NAMED, slice="1KB")
    assert line.startswith("--slice: ")


def test_what_the_command_line_goes_before_need_not_be_right() -> None:
    assert read(ORIGIN + "port = 'x'\n", port="4000").settings.port == 4000


def test_a_route_may_be_right_where_what_is_for_all_is_wrong() -> None:
    (line,) = problems(f"{ORIGIN}cache_ttl = 'x'\n[[routes]]\ncache_ttl = 5\n")
    assert line.startswith("proxy.toml:2: cache_ttl: ")


@pytest.mark.parametrize(
    "text",
    [
        'origin = "http://user:hidden@one.example"',
        'origin = "http://user:hidden@one.example:x"',
        'origin = "ftp://user:hidden@one.example"',
        'origin = "http://user:hidden@"',
        f'{ORIGIN}admin_token = "hidden word"',
        f'{ORIGIN}admin_token = ["hidden"]',
        f'{ORIGIN}sticky_secret = "hidden word"',
        f'{ORIGIN}sticky_secret = ["hidden-word"]',
        f'{ORIGIN}admin_token = {{ hidden = "hidden" }}',
        'origin = "http://user:12?hidden@one.example"',
        f'{ORIGIN}[[routes]]\nrequest_headers = "Bearer hidden"',
        f'{ORIGIN}[[routes]]\nrequest_headers = {{ set = "Bearer hidden" }}',
        f'{ORIGIN}[[routes]]\nrequest_headers = {{ set = [{{ Authorization = "hidden" }}] }}',
        f'{ORIGIN}[[routes]]\nheader = {{ Authorization = "hidden(" }}',
        f'{ORIGIN}[[routes]]\nheader = {{ Authorization = ["hidden"] }}',
        f'{ORIGIN}[[routes]]\nbypass = [{{ header = "Authorization: hidden" }}]',
        'origin = ["http://user:hidden@one.example"]',
        'origin = { url = "http://user:hidden@one.example" }',
        'origin = "http://one.example/?token=hidden"',
        f'{ORIGIN}servers = ["http://user:hidden@one.example weight=5"]',
        f'{ORIGIN}redis_host = "redis://:hidden@one.example"',
        f'{ORIGIN}redis_host = ":hidden@one.example"',
        f'{ORIGIN}redis_url = "redis+sentinel://:hidden@one.example?sentinel_password=hidden"',
        f'{ORIGIN}[admin]\ntoken = "hidden"',
    ],
)
def test_secrets_are_not_repeated(text: str) -> None:
    (line,) = problems(text)
    assert "hidden" not in line


@pytest.mark.parametrize("setting", ["origin_ca", "access_log", "unix_socket"])
def test_a_path_that_no_file_can_have_is_told(setting: str) -> None:
    path = "/" + "x" * 300 + "/y"
    value = f'["{path}"]' if setting == "unix_socket" else f'"{path}"'
    (line,) = problems(f"{ORIGIN}{setting} = {value}\n")
    assert f"proxy.toml:2: {setting}" in line


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("cash_ttl", "did you mean `cache_ttl`?"),
        ("stale-if-eror", "did you mean `stale_if_error`?"),
        ("listener", "did you mean `listeners`?"),
        ("Port", "did you mean `port`?"),
        ("qwertz", "leave it out"),
        ("override_tll", "did you mean `override_ttl`?"),
        ("add_prefixes", "did you mean `add_prefix`? It belongs to [[routes]]"),
    ],
)
def test_what_may_have_been_meant(word: str, cure: str) -> None:
    (line,) = problems(f"{ORIGIN}{word} = 5\n")
    assert line.endswith(f"there is no such setting: {cure}")


# -- found by looking for what escapes: the text, the line and a part of what is told

ODD = {
    "a file that is a number": ("origin_ca = 5", 2, "5 is not a text"),
    "a log that is a switch": ("access_log = true", 2, "True is not a text"),
    "a server that is a number": ("servers = 5", 2, "5 is not a text"),
    "a server that is a list": ("servers = [[1]]", 2, "a list is not a text"),
    "changes that are a number": ("[[routes]]\nrequest_headers = 5", 3, "5 is not a table"),
    "a rule that is a text": ("[[routes]]\nttl = ['x']", 3, "a text is not a table"),
    "a number without end": ("max_fields = " + "1" * 5000 + "\n", 2, "has 5000 digits: correct it"),
    "hexadecimal without end": ("[[routes]]\nttl = 0x" + "f" * 8000, 3, "the number is not a"),
    "a size without end": ("memory = '" + "9" * 400 + ".5'", 2, "is too much"),
    "a pattern too deep": ("[[routes]]\npattern = '" + "(" * 3000 + ")" * 3000 + "'", 3, "'(((("),
    "a pattern that is a number": ("[[routes]]\nheader = { X-A = 1 }", 3, "X-A: 1 is no pattern"),
    "an escaped name": ('"\\u0063ache_ttl" = "x"', 2, "cache_ttl: 'x' is not a duration"),
    "a quoted name": ("[[routes]]\n\n'path' = 1", 4, "routes[0].path: 1 is not a text"),
    "a table of routes": ("[routes.api]\npath = '/'", 2, "routes: it is no list of tables"),
    "a rule without a route": ("[[routes.ttl]]\nttl = 1", 2, "routes: it is no list of tables"),
    "a table in an origin": ("[origins.x.y]\na = 1", 2, "origins.x.y: there is no such setting"),
    "a name with a line break": ('"a\\nb" = 1', 2, '"a\\nb": there is no such setting'),
    "a name of 5000 characters": (f"{'a' * 5000} = 1", 2, f"{'a' * 77}...: there is no such"),
    "a pattern with a NUL": ("[[routes]]\npattern = '(?\\u0000'".replace("'", '"'), 3, "?\\x00"),
    "a table twice, by a long name": (f"[{'a' * 5000}]\n" * 2, 3, "it is not TOML"),
    "an origin with a blank": ('[origins."a b"]\nurl = "http://a"', 2, "'a b' is not a name"),
    "both spellings": ("cache-ttl = 1\ncache_ttl = 2", 3, "cache_ttl: it is given twice"),
    "a cookie that is a switch": ("[[routes]]\nbypass = [{cookie = true}]", 3, "not a text"),
    "any cookie": ("[[routes]]\nbypass = [{cookie = '*'}]", 3, "'*' is not a name"),
    "a secret that is a list": ("admin_token = ['secretsecret']", 2, "is not a text"),
    "a secret of no file": ('admin_token = "file:a\\u0000b"', 2, "cannot be read"),
    "a log with a NUL": ('access_log = "\\u0000"', 2, "cannot be a file"),
    "ports alike": ("port = 3001", 2, "--port and --admin-port are both 3001"),
    "small objects, large slices": (
        "slice = '8MB'\n[[routes]]\nmax_object = '1MB'",
        4,
        "routes[0].max_object: slices of 8388608 bytes do not fit",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_values_are_told_like_any_other(case: str) -> None:
    text, line, told = ODD[case]
    lines = problems(ORIGIN + text)
    assert any(found.startswith(f"proxy.toml:{line}: ") and told in found for found in lines), lines
    assert all(re.fullmatch(r"proxy\.toml:\d+: [^\n]+: [^\n]+", found) for found in lines)


def test_the_admin_port_is_another_port() -> None:
    with pytest.raises(SettingsError) as error:
        configure({"origin": "http://a", "port": "3001"}, {})
    (line,) = error.value.lines
    assert line == "--port: --port and --admin-port are both 3001: choose another one"
    assert read(f"{ORIGIN}port = 3001\nadmin = false").settings.port == 3001
    assert read(f"{ORIGIN}port = 0\nadmin_port = 0").settings.port == 0


@pytest.mark.parametrize("address", [":3001", "*:3001", "127.0.0.1:3001", "0.0.0.0:3001"])
def test_no_listener_is_on_the_admin_port(address: str) -> None:
    listeners = f"[[listeners]]\naddress = ':80'\n[[listeners]]\naddress = '{address}'\n"
    (line,) = problems(ORIGIN + listeners)
    assert line == (
        "proxy.toml:5: listeners[1].address: the control API is on port 3001: choose another one"
    )
    read(f"{ORIGIN}admin = false\n{listeners}")


@pytest.mark.parametrize(
    ("first", "second"),
    [("127.0.0.1:80", "127.0.0.2:80"), ("0.0.0.0:80", "[::]:80"), ("0.0.0.0:80", "[::1]:80")],
)
def test_places_that_do_not_meet(first: str, second: str) -> None:
    listeners = "".join(f"[[listeners]]\naddress = '{place}'\n" for place in (first, second))
    assert len(read(ORIGIN + listeners).listeners) == 2


def test_another_interface_may_have_the_port_of_the_admin_api() -> None:
    (listener,) = read(f"{ORIGIN}[[listeners]]\naddress = '10.0.0.5:3001'\n").listeners
    assert listener.place == ("10.0.0.5", 3001)
    settings = read(f"{ORIGIN}host = '10.0.0.5'\nport = 3001\n").settings
    assert (settings.host, settings.port) == (["10.0.0.5"], settings.admin_port)


def test_wrong_listeners_do_not_give_way_to_the_port() -> None:
    (line,) = problems(f"{ORIGIN}admin_port = 3000\n[[listeners]]\naddress = 'no place'\n")
    assert "is not an address" in line


def test_the_port_that_listeners_replace_may_be_the_admin_port() -> None:
    configuration = read(f"{ORIGIN}admin_port = 3000\n[[listeners]]\naddress = ':8080'\n")
    assert configuration.settings.admin_port == configuration.settings.port == 3000
    assert [listener.place for listener in configuration.listeners] == [("", 8080)]


NO_NAMES = {
    "a..b": "has an empty label",
    "a" * 64: "has a label of more than 63 octets",
    ".".join(["a" * 63] * 4): "is longer than 253 octets",
    "a.-b": "has a label that begins or ends with a hyphen",
    "1.2.3": "is not an IPv4 address",
}
NO_HOSTS = dict.fromkeys(
    ["a b", "a@b", "a/b", "a\x01b", "\ue000"],
    "is not an address: use an IP address or a host name",
)


@pytest.mark.parametrize("host", [*NO_NAMES, *NO_HOSTS, "1:2:3"])
@pytest.mark.parametrize("setting", ["host", "admin_host", "redis_host"])
def test_a_host_is_one_that_can_be_looked_up(setting: str, host: str) -> None:
    with pytest.raises(SettingsError) as error:
        configure({"origin": "http://a", setting: host}, {})
    (line,) = error.value.lines
    assert {**NO_NAMES, **NO_HOSTS, "1:2:3": "is not an IPv6 address"}[host] in line


@pytest.mark.parametrize("host", NO_NAMES)
def test_every_host_is_one_that_can_be_looked_up(host: str) -> None:
    for text in (
        f'origin = "http://{host}:81/x"',
        f'{ORIGIN}servers = ["{host}:81:5"]',
        f'{ORIGIN}server_name = ["{host}:81"]',
        f'{ORIGIN}health_host = "{host}"',
        f'{ORIGIN}[[listeners]]\naddress = "{host}:80"',
        f'{ORIGIN}[[routes]]\nhost = "*.{host}"',
    ):
        (line,) = problems(text)
        assert NO_NAMES[host] in line


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        (":80", "*:080"),
        (":80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("[::1]:80", "[::]:80"),
        ("unix:/tmp/s:0", "unix:/tmp/s:0"),
    ],
)
def test_two_listeners_are_two_places(first: str, second: str) -> None:
    """Counted as they stand in the file, wrong ones as well."""
    places = ("no place", ":0", first, ":0", second)
    text = "".join(f"[[listeners]]\naddress = '{place}'\n" for place in places)
    wrong, twice = problems(ORIGIN + text)
    assert wrong.startswith("proxy.toml:3: listeners[0].address: 'no place' is not an address")
    assert twice == (
        "proxy.toml:11: listeners[4].address: listeners[2] has it as well: leave one out"
    )


def test_authorities_are_certificates(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing of the kind")
    (line,) = problems(f"{ORIGIN}origin_ca = '{file}'\n")
    assert line.startswith(f"proxy.toml:2: origin_ca: '{file}' has no certificates in PEM form")


def test_the_values_of_fields_may_stand_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("of a file\n")
    monkeypatch.setenv("OF_THIS_TEST", "of the environment")
    values = f"X-A = 'file:{tmp_path}/key', X-B = 'env:OF_THIS_TEST', X-C = 'as it is'"
    route = read(f"{ORIGIN}[[routes]]\nrequest_headers = {{ set = {{ {values} }} }}\n").routes[0]
    assert route.request_headers is not None
    assert list(route.request_headers.set.values()) == [
        "of a file",
        "of the environment",
        "as it is",
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("file:/no/where", "there is no file '/no/where'"),
        ("env:OF_NO_TEST", "the environment has no 'OF_NO_TEST': set it"),
        ("Bearer \\u0001hidden", "what is given is not a field value"),
    ],
)
def test_a_wrong_secret_of_a_field_is_told_and_not_shown(value: str, told: str) -> None:
    (line,) = problems(
        f'{ORIGIN}[[routes]]\nrequest_headers = {{ set = {{ Authorization = "{value}" }} }}\n'
    )
    assert line.startswith("proxy.toml:3: ") and told in line and "hidden" not in line


def test_dashes_are_understood_in_every_table() -> None:
    text = (
        ROUTE + "strip-prefix = '/a'\nttl = [{ override-ttl = 5 }]\n[[routes.bypass]]\npath = 'x'"
    )
    route = read(text).routes[0]
    assert (route.strip_prefix, route.ttl[0].override_ttl) == ("/a", 5)


def test_flags_of_a_pattern_may_stand_at_its_beginning() -> None:
    route = read(ROUTE + "rewrite = '(?i)^/A'\nrewrite_to = '/b'").routes[0]
    assert (route.rewrite, route.rewrite_to) == ("(?i)^/A", "/b")


@pytest.mark.parametrize("name", ["c", "e"])
def test_a_file_of_any_name_gives_way_to_the_command_line(name: str) -> None:
    file = ConfigurationFile(name, ORIGIN + LISTENERS)
    assert configure({"port": "80"}, {}, file).listeners == ()
    assert configure({}, {"PROXY_PORT": "80"}, file).listeners == ()
    assert len(configure({"backlog": "9"}, {}, file).listeners) == 2


def test_an_origin_of_the_command_line_goes_before_that_of_the_file() -> None:
    file = ConfigurationFile(NAME, "[origins.default]\nurl = 'http://a'\nkeepalive = 3\n")
    default = configure({"origin": "http://b"}, {}, file).origins["default"]
    assert (default.url, default.origin_keepalive) == ("http://b", 3)


def test_each_origin_may_have_servers_of_its_own() -> None:
    text = "load_balance = true\n[origins.default]\nurl = 'http://a'\nservers = ['b:1']"
    assert read(text).origins["default"].load_balance


def test_origins_that_no_route_leads_to() -> None:
    (line,) = problems(NAMED)
    assert line == "proxy.toml:1: origins: no route leads there: add [[routes]]"


def test_what_is_missing_since_it_is_misspelt_is_told_once() -> None:
    (line,) = problems(ORIGIN + "[origins.a]\nurll = 'http://a'")
    assert line.endswith("urll: there is no such setting: did you mean `url`?")


def test_a_large_file_is_read_in_time_that_grows_with_it() -> None:
    """Up to the greatest that is taken; with its square it would take minutes."""
    text = "".join(f"k{number} = 1\n" for number in range(60_000))
    told = problems((ORIGIN + text)[: 1 << 20])
    assert len(told) == MOST_STRANGE + 1
    assert "k100: there is no such setting, nor 59899 others" in told[-1]
