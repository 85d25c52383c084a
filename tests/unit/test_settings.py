"""Settings: values, bounds, precedence, and messages that name cause and cure."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caching_proxy.configuration import configure
from caching_proxy.load_balancer.server_address import ServerAddress
from caching_proxy.setting_kinds import format_seconds, format_size, parse_seconds, parse_size
from caching_proxy.settings import GROUPS, Settings, SettingsError, StoreSettings

ORIGIN = "https://origin.example"


def problems(environment: dict[str, str] | None = None, **given: Any) -> list[str]:
    with pytest.raises(SettingsError) as error:
        Settings.load({"origin": ORIGIN, **given}, environment or {})
    return error.value.lines


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("16KB", 16384), ("256mb", 1 << 28), ("1.5 GB", 3 << 29), (7, 7)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("2.5", 2.5), ("500ms", 0.5), ("10s", 10), ("5m", 300), ("1h", 3600), (3, 3)],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "MB", "12XB", "1e3", "nan", "inf", "1 2", "٣"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)
    with pytest.raises(ValueError, match="is not a duration"):
        parse_seconds(text)


@given(st.integers(0, 1 << 50))
def test_a_size_is_shown_as_it_would_be_given(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**9))
def test_a_duration_is_shown_as_it_would_be_given(milliseconds: int) -> None:
    shown = format_seconds(milliseconds / 1000)
    assert parse_seconds(shown) == pytest.approx(milliseconds / 1000)


def test_the_documented_defaults() -> None:
    settings = Settings(origin=ORIGIN)
    assert (settings.port, settings.admin_port, settings.cache_ttl) == (3000, 3001, 3600)
    assert (settings.redis_host, settings.redis_port) == ("localhost", 6379)
    assert settings.memory == 256 * 1024 * 1024
    assert settings.strategy == "weighted-round-robin"
    assert settings.host == []


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings(origin=ORIGIN).port = 1


def test_the_command_line_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {
        "PROXY_PORT": "4000",
        "CACHE_TTL": "5m",
        "REDIS_HOST": "redis.example",
        "REDIS_PORT": "7001",
    }
    settings = Settings.load({"origin": ORIGIN, "port": "5000"}, environment)
    assert (settings.port, settings.cache_ttl) == (5000, 300)
    assert (settings.redis_host, settings.redis_port) == ("redis.example", 7001)
    assert settings.admin_port == 3001


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.load({"origin": ORIGIN}, {"PROXY_PORT": ""}).port == 3000


def test_a_wrong_variable_is_named() -> None:
    (line,) = problems({"PROXY_PORT": "http"})
    assert line == "PROXY_PORT (--port): 'http' is not a whole number: use 0 to 65535"


def test_everything_wrong_is_reported_at_once_a_line_each() -> None:
    lines = problems(
        {"CACHE_TTL": "soon"},
        origin="ftp://origin.example",
        port="70000",
        memory="12XB",
        head_timeout="0",
        strategy="fastest",
        name="a name",
        servers=["localhost:9001", "good:5", "bad:0"],
        trusted_proxies=["10.1.0.0/8", "here"],
    )
    flags = [line.split(": ")[0] for line in lines]
    assert sorted(flags) == [
        "--head-timeout",
        "--memory",
        "--name",
        "--origin",
        "--port",
        "--servers",
        "--servers",
        "--strategy",
        "--trusted-proxies",
        "--trusted-proxies",
        "CACHE_TTL (--cache-ttl)",
    ]
    for line in lines:
        assert re.fullmatch(r".+: .+: .+", line), line


def test_a_missing_origin_is_named_with_an_example() -> None:
    with pytest.raises(SettingsError, match=r"^--origin is missing: .* https://example\.com$"):
        configure({}, {})


@pytest.mark.parametrize(
    "origin",
    [
        "http://one.example",
        "https://one.example:8443/base/path",
        "http://[::1]:9000",
        "http://127.0.0.1:80/",
        "unix:/run/app.sock",
    ],
)
def test_origins(origin: str) -> None:
    assert Settings(origin=origin).origin == origin


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "one.example",
        "one.example:80",
        "http://",
        "http:///path",
        "http://one.example:0",
        "http://one.example:70000",
        "http://one.example:http",
        "http://[::1",
        "http://user:secret@one.example",
        "http://one.example/?query",
        "http://one.example/#part",
        "http://one.example/a b",
        "http://bücher.example",
        "http://one.example/\r\nX: y",
        "unix:relative.sock",
        "unix:",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    (line,) = problems(origin=origin)
    assert line.startswith("--origin: ")


def test_a_password_in_the_origin_is_not_repeated() -> None:
    assert "secret" not in problems(origin="http://user:secret@one.example")[0]


def test_lists_are_read_item_by_item(tmp_path: Path) -> None:
    settings = Settings.load(
        {
            "origin": ORIGIN,
            "host": ["127.0.0.1", "[::1]"],
            "unix_socket": [str(tmp_path / "proxy.sock")],
            "server_name": ["WWW.Example:8080"],
            "trusted_proxies": ["10.0.0.0/8", "::1", "192.0.2.7"],
            "servers": ["one:5", "two:81:3"],
        },
        {},
    )
    assert settings.host == ["127.0.0.1", "::1"]
    assert settings.server_name == ["www.example:8080"]
    assert settings.trusted_proxies == [
        ip_network("10.0.0.0/8"),
        ip_network("::1/128"),
        ip_network("192.0.2.7/32"),
    ]
    assert settings.servers == [ServerAddress("one", weight=5), ServerAddress("two", 81, weight=3)]


def test_files_and_folders_must_be_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "no" / "where")
    lines = problems(origin_ca=missing, unix_socket=[missing], access_log=missing)
    assert [line.split(":")[0] for line in sorted(lines)] == [
        "--access-log",
        "--origin-ca",
        "--unix-socket",
    ]
    certificate = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(certificate))
    authorities = Settings(origin=ORIGIN, origin_ca=certificate).origin_ca
    assert authorities is not None and authorities.path == certificate
    assert Settings(origin=ORIGIN, access_log="-").access_log == "-"


def test_a_socket_path_too_long_for_the_system_is_refused(tmp_path: Path) -> None:
    (line,) = problems(unix_socket=[f"{tmp_path}/{'x' * 110}"])
    assert "use 1 to 103 bytes" in line


def test_balancing_needs_servers() -> None:
    with pytest.raises(SettingsError) as error:
        configure({"origin": ORIGIN, "load_balance": True}, {})
    (line,) = error.value.lines
    assert line == "--load-balance: there are no servers: name some with --servers"


def test_authorities_of_a_redis_without_tls_are_refused(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(certificate))
    for more in ({}, {"redis_url": "redis://one.example"}):
        (line,) = problems(redis_ca=certificate, **more)
        assert line.startswith("--redis-ca: Redis is not asked over TLS: give --redis-url rediss:")
    tls = Settings(origin=ORIGIN, redis_ca=certificate, redis_url="rediss://one.example")
    assert tls.redis_address().tls is not None


def test_sentinels_of_a_cluster_are_refused() -> None:
    (line,) = problems(use_cluster=True, redis_url="redis+sentinel://one.example/main")
    assert line.startswith("--use-cluster: sentinels do not watch clusters: leave it out")


def test_replicas_of_one_node_are_refused() -> None:
    (line,) = problems(redis_replica_reads=True)
    assert line.startswith("--redis-replica-reads: one node has no replicas that are known: give")
    for more in ({"use_cluster": True}, {"redis_url": "redis+sentinel://one.example/main"}):
        assert Settings(origin=ORIGIN, redis_replica_reads=True, **more).redis_replica_reads


def test_an_unknown_setting_is_refused() -> None:
    (line,) = problems(cash=5)
    assert line == "cash: there is no such setting: did you mean `cache`?"
    (line,) = problems(zzz=5)
    assert line == "zzz: there is no such setting: leave it out"


def test_every_setting_is_declared_in_full() -> None:
    for declared in Settings.declarations():
        assert declared.group in GROUPS
        assert declared.help.endswith("."), declared.name
        assert declared.is_switch or declared.kind.metavar, declared.name


def test_every_default_is_a_value_that_may_be_given() -> None:
    for declared in Settings.declarations():
        if declared.default_text:
            texts = declared.default_text.split(", ")
            read = [declared.kind.read(text) for text in texts]
            expected = declared.default if declared.repeatable else [declared.default]
            assert read == expected, declared.name


def test_a_switch_that_is_on_has_the_flag_that_turns_it_off() -> None:
    assert Settings.declaration("admin").flag == "--no-admin"
    assert Settings.declaration("use_cluster").flag == "--use-cluster"


def test_the_settings_of_the_store_are_settings_of_the_proxy() -> None:
    names = {declared.name for declared in Settings.declarations()}
    assert {declared.name for declared in StoreSettings.declarations()} < names


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("[::1]:80:1", "[0:0::1]:80:2", "::1"),
        ("[::ffff:1.2.3.4]", "[::FFFF:102:304]:443:5", "::ffff:1.2.3.4"),
        ("one.example", "One.Example.:443:2", "one.example"),
        ("https://one.example", "one.example:7", "one.example"),
    ],
)
def test_a_server_is_there_once_however_it_is_spelled(first: str, second: str, name: str) -> None:
    with pytest.raises(SettingsError) as error:
        configure({"origin": ORIGIN, "servers": [first, second]}, {})
    (line,) = error.value.lines
    assert line == f"--servers: {name} is there twice: give it once, with its weight"


@pytest.mark.parametrize("value", ["x" * 5000, "9" * 5000, "a." * 2500, ":" * 5000, "\0" * 5000])
def test_long_values_are_not_repeated_whole(value: str) -> None:
    names = [declared.name for declared in Settings.declarations() if declared.table is None]
    for name in names:
        try:
            configure({"origin": ORIGIN, name: value}, {})
        except SettingsError as error:
            assert all(len(line) < 400 and line.isprintable() for line in error.lines), name


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 5000])
def test_a_number_of_too_many_digits_is_out_of_range(digits: str) -> None:
    lines = problems(port=digits, memory=digits, head_timeout=digits)
    assert [line.partition(": use")[0][-20:] for line in lines] == ["...' is out of range"] * 3
    (line,) = problems(workers=digits)
    assert line.endswith("is no number of workers: use 1 to 1024, or auto")


def test_a_value_that_has_a_colon_gets_its_cure() -> None:
    (line,) = problems(port="a: b")
    assert line == "--port: 'a: b' is not a whole number: use 0 to 65535"
