"""The example configurations are valid, and show what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from caching_proxy.configuration import Configuration, ConfigurationFile, configure
from caching_proxy.proxy_server.proxy_server import ProxyServer
from caching_proxy.settings import Route

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.toml"))


def read(name: str) -> Configuration:
    return configure({}, {}, ConfigurationFile.read(FOLDER / name))


def route(configuration: Configuration, name: str) -> Route:
    (found,) = [route for route in configuration.routes if route.route == name]
    return found


def test_the_examples_are_there() -> None:
    names = {path.name for path in EXAMPLES}
    assert names >= {"api.toml", "static-site.toml", "wordpress.toml", "image-store.toml"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_an_example_is_valid_and_gives_no_warnings(path: Path) -> None:
    configuration = read(path.name)
    assert configuration.warnings() == []
    assert configuration.listeners
    names = [found.route for found in configuration.routes]
    assert not [name for name in names if name.startswith("routes-")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
async def test_a_proxy_can_go_by_an_example(path: Path) -> None:
    proxy = ProxyServer()
    proxy.discard(proxy.prepare(read(path.name)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_an_example_says_how_to_start_with_it(path: Path) -> None:
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert re.fullmatch(r"# .*\.", first)
    assert second == f"# caching-proxy start --config examples/{path.name}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_lines_of_an_example_are_short(path: Path) -> None:
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100


def test_wordpress_goes_past_the_cache_for_who_is_logged_in() -> None:
    pages = route(read("wordpress.toml"), "pages")
    cookies = {bypass.cookie for bypass in pages.bypass}
    assert {"wordpress_logged_in_*", "comment_author_*", "wp-postpass_*"} <= cookies
    patterns = [bypass.path for bypass in pages.bypass if bypass.path is not None]
    for path in ("/wp-admin/", "/wp-admin/edit.php", "/wp-login.php", "/cart/", "/checkout"):
        assert [pattern for pattern in patterns if re.search(pattern, path)], path
    for path in ("/", "/a-post/", "/cartoons/", "/about-wp-admin/"):
        assert not [pattern for pattern in patterns if re.search(pattern, path)], path


def test_wordpress_files_are_those_that_no_cookie_changes() -> None:
    files = route(read("wordpress.toml"), "files")
    assert files.pattern is not None
    assert re.fullmatch(files.pattern, "/wp-content/uploads/2024/01/a.jpeg")
    assert re.fullmatch(files.pattern, "/wp-content/plugins/a/b.php") is None
    assert files.request_headers is not None
    assert files.request_headers.remove == ["Cookie"]


def test_the_assets_of_the_static_site_are_those_with_a_hash() -> None:
    hashed = route(read("static-site.toml"), "hashed")
    assert hashed.pattern is not None
    assert re.fullmatch(hashed.pattern, "/assets/app-0a1b2c3d4e.js")
    assert re.fullmatch(hashed.pattern, "/assets/fonts/text.0123abcd.woff2")
    assert re.fullmatch(hashed.pattern, "/assets/app.js") is None
    blog = route(read("static-site.toml"), "old-blog")
    assert blog.rewrite is not None
    assert blog.rewrite_to is not None
    assert re.sub(blog.rewrite, blog.rewrite_to, "/blog/2023/a-post") == "/archive/2023/a-post"


def test_previews_are_never_stored() -> None:
    routes = read("static-site.toml").routes
    assert (routes[0].route, routes[0].cache) == ("preview", False)


def test_large_files_come_in_slices() -> None:
    configuration = read("image-store.toml")
    assert route(configuration, "videos").slice == 2 << 20
    assert route(configuration, "images").slice == 0
    assert "default" not in configuration.origins
