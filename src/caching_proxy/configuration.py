"""A whole configuration, from command line, environment, file and defaults.

The command line wins over the environment, that over the file, and that over the defaults. What is
set for all, wherever, is the default of every origin and route; what a table of the file says of
its own origin or route holds there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from caching_proxy.declared import (
    Declared,
    Given,
    Place,
    SettingsError,
    did_you_mean,
    from_command_line,
    from_environment,
)
from caching_proxy.settings import Listener, Origin, OriginSettings, Route, RouteSettings, Settings
from caching_proxy.toml_positions import positions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = "caching-proxy.toml"
DEFAULT = "default"
"""The name of the origin, and of the route, for all that no route of the file takes."""
MAX_FILE = 1 << 20  # bytes
_TABLES = ("listeners", "origins", "routes")
_LISTENING = ("host", "port", "unix_socket", "backlog")

Model = TypeVar("Model", bound=Declared)


@dataclass(frozen=True)
class ConfigurationFile:
    """A file as it was read: so that all processes see the same."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> ConfigurationFile:
        """Raises SettingsError (one line)."""
        try:
            octets = path.read_bytes()
            text = octets.decode("utf-8")
        except OSError as error:
            raise SettingsError(
                [f"{path}: {error.strerror}: name a file that can be read with --config"]
            ) from None
        except UnicodeDecodeError as error:
            line = octets.count(b"\n", 0, error.start) + 1
            raise SettingsError([f"{path}:{line}: it is not UTF-8: save it as that"]) from None
        if len(octets) > MAX_FILE:
            raise SettingsError([f"{path}: it is larger than {MAX_FILE} bytes: shorten it"])
        return cls(str(path), text)


@dataclass(frozen=True)
class Configuration:
    """All that a proxy is told; the processes of one proxy have the same.

    `routes` are tried in order; where there is a default origin the last one takes the rest.
    `origins` are by name. `sources` tells who gave a setting, by its name and, in tables of the
    file, by its path there (`routes[0].cache_ttl`).
    """

    settings: Settings
    listeners: tuple[Listener, ...]
    origins: Mapping[str, Origin]
    routes: tuple[Route, ...]
    sources: Mapping[str, str] = field(default_factory=dict)
    file: ConfigurationFile | None = None

    def share(self, workers: int) -> Configuration:
        """One worker's of so many: of memory and connections it gets its share."""
        settings = self.settings
        limit = settings.max_connections
        changes: dict[str, Any] = {"memory": settings.memory // workers}
        if limit is not None:
            changes["max_connections"] = -(-limit // workers)
        return replace(self, settings=settings.model_copy(update=changes))

    def warnings(self) -> list[str]:
        """One line for each part that is there in vain."""
        used = {route.origin or DEFAULT for route in self.routes}
        lines = [
            f"the origin {name} is used by no route" for name in self.origins if name not in used
        ]
        for number, route in enumerate(self.routes[:-1]):
            if not _conditions(route):
                names = [after.route for after in self.routes[number + 1 :]]
                if names != [DEFAULT]:
                    lines.append(
                        f"the route {route.route} takes everything: {', '.join(names)} get nothing"
                    )
                break
        return lines


def _conditions(route: Route) -> bool:
    hosts = route.host or route.path not in ([], ["/"])
    return bool(hosts or route.pattern or route.method or route.header)


@dataclass(frozen=True)
class Sources:
    """Where a configuration comes from; `load` reads it, again and again."""

    given: Mapping[str, Any]
    environment: Mapping[str, str]
    path: Path | None = None

    def load(self) -> Configuration:
        """The configuration as it is now. SettingsError names all that is wrong."""
        file = None if self.path is None else ConfigurationFile.read(self.path)
        return configure(self.given, self.environment, file)


def find_file(named: str | None) -> Path | None:
    """The file that is named, else caching-proxy.toml where there is one."""
    if named is not None:
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def configure(
    given: Mapping[str, Any], environment: Mapping[str, str], file: ConfigurationFile | None = None
) -> Configuration:
    """The configuration of these three. SettingsError names all that is wrong, by line."""
    return _Reader(given, environment, file).read()


class _Reader:
    """Gathers the problems of every table, so that they are told at once."""

    def __init__(
        self,
        given: Mapping[str, Any],
        environment: Mapping[str, str],
        file: ConfigurationFile | None,
    ) -> None:
        self._file = file
        self._problems: dict[str, None] = {}
        self._lines: dict[Place, int] = {}
        document = self._parse()
        self._tables = {name: document.pop(name, None) for name in _TABLES}
        self._top = dict(self._from_file(document))
        self._top |= from_environment(Settings, environment)
        self._top |= from_command_line(Settings, given)

    def read(self) -> Configuration:
        top = {name: given.value for name, given in self._top.items()}
        settings = self._model(Settings, top, lambda path: Settings.label(path, self._top))
        origins = self._origins()
        routes = self._routes()
        listeners = self._listeners()
        self._check_names(origins, routes)
        if DEFAULT in origins:
            routes.append(self._quietly(Route, RouteSettings, {"route": DEFAULT}))
        if self._problems or settings is None:
            raise SettingsError(sorted(self._problems, key=self._place_in_file))
        return Configuration(
            settings,
            tuple(listeners),
            {name: origin for name, origin in origins.items() if origin is not None},
            tuple([route for route in routes if route is not None]),
            {name: value.source for name, value in self._top.items()} | self._in_tables(),
            self._file,
        )

    # -- the file

    def _parse(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            document = tomllib.loads(self._file.text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise SettingsError([f"{self._file.name}: it is not TOML: {error}"]) from None
        self._lines = {
            _underscored(path): line for path, line in positions(self._file.text).items()
        }
        return {_underscore(name): value for name, value in document.items()}

    def _from_file(self, document: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
        for name, value in document.items():
            if name not in Settings.model_fields:
                cure = did_you_mean(name, [*Settings.model_fields, *_TABLES], Declared.elsewhere)
                self._say(f"{self._label((name,))}: there is no such setting: {cure}")
                continue
            yield name, Given(value, self._label((name,)), self._source((name,)))

    def _in_tables(self) -> dict[str, str]:
        return {_dotted(path): self._source(path) for path in self._lines if len(path) > 2}

    def _label(self, path: Place) -> str:
        """File, line and path, as far as the path is in the file."""
        return f"{self._source(path)}: {_dotted(path)}"

    def _source(self, path: Place) -> str:
        assert self._file is not None
        known = path
        while known and known not in self._lines:
            known = known[:-1]
        line = f":{self._lines[known]}" if known else ""
        return f"{self._file.name}{line}"

    # -- tables

    def _origins(self) -> dict[str, Origin | None]:
        origins: dict[str, Origin | None] = {}
        for name, table in self._named("origins"):
            table = {_of_origin(key): value for key, value in table.items()}
            origins[name] = self._table(Origin, OriginSettings, table, ("origins", name))
        if "origin" in self._top:
            if DEFAULT in origins:
                self._say(
                    f"{self._top['origin'].label}: there is a table origins.{DEFAULT} as well:"
                    " leave one of them out"
                )
            url = {"url": self._top["origin"].value}
            origins[DEFAULT] = self._quietly(Origin, OriginSettings, url)
        return origins

    def _routes(self) -> list[Route | None]:
        routes = []
        for number, table in self._listed("routes"):
            path = ("routes", number)
            table = {"route": f"routes-{number}", **table}
            if not isinstance(table["route"], str):
                self._say(f"{self._label((*path, 'route'))}: it is no text: write a name")
                continue
            routes.append(self._table(Route, RouteSettings, table, path))
        return routes

    def _listeners(self) -> list[Listener]:
        """Those of the file, unless command line or environment tell what to listen on."""
        named = [self._top[name].source for name in _LISTENING if name in self._top]
        from_file = None if self._file is None else self._file.name
        overridden = any(from_file is None or not source.startswith(from_file) for source in named)
        found = [
            self._table(Listener, Declared, table, ("listeners", number))
            for number, table in self._listed("listeners")
        ]
        if found and named and not overridden:
            self._say(
                f"{self._label(('listeners',))}: {named[0]} tells where to listen as well: use one"
            )
        return [] if overridden else [listener for listener in found if listener is not None]

    def _named(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        tables = self._tables[name]
        if tables is not None and not isinstance(tables, dict):
            self._say(f"{self._label((name,))}: it is no table: write [{name}.NAME]")
            return
        for key, table in (tables or {}).items():
            if isinstance(table, dict):
                yield key, {_underscore(inner): value for inner, value in table.items()}
            else:
                self._say(f"{self._label((name, key))}: it is no table: write [{name}.{key}]")

    def _listed(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        tables = self._tables[name]
        if tables is not None and not isinstance(tables, list):
            self._say(f"{self._label((name,))}: it is no list of tables: write [[{name}]]")
            return
        for number, table in enumerate(tables or []):
            if isinstance(table, dict):
                yield number, {_underscore(inner): value for inner, value in table.items()}
            else:
                self._say(f"{self._label((name, number))}: it is no table: write [[{name}]]")

    def _table(
        self, model: type[Model], common: type[Declared], table: dict[str, Any], path: Place
    ) -> Model | None:
        """The model of a table; what it leaves out is as for all."""

        def label(inner: Place) -> str:
            name = inner[0] if inner else None
            if name is not None and name not in table and name in self._top:
                return self._top[str(name)].label
            return self._label((*path, *inner))

        return self._model(model, self._common(common) | table, label)

    def _quietly(
        self, model: type[Model], common: type[Declared], table: dict[str, Any]
    ) -> Model | None:
        """A model of what is set for all: what is wrong with that has been said already."""
        try:
            return model.read(self._common(common) | table, lambda path: "")
        except SettingsError:
            return None

    def _common(self, model: type[Declared]) -> dict[str, Any]:
        return {name: self._top[name].value for name in model.model_fields if name in self._top}

    def _model(
        self, model: type[Model], values: Mapping[str, Any], label: Callable[[Place], str]
    ) -> Model | None:
        try:
            return model.read(values, label)
        except SettingsError as error:
            self._say(*error.lines)
            return None

    # -- what has to fit together

    def _check_names(
        self, origins: Mapping[str, Origin | None], routes: Sequence[Route | None]
    ) -> None:
        if not origins and not self._problems:
            self._say("--origin is missing: give it, such as --origin https://example.com")
            return
        names: dict[str, None] = {}
        for number, route in enumerate(routes):
            if route is None:
                continue
            path = ("routes", number)
            if route.route in names or route.route == DEFAULT:
                self._say(f"{self._label((*path, 'route'))}: {route.route} is another route's name")
            names[route.route] = None
            if route.origin is None and DEFAULT not in origins:
                self._say(
                    f"{self._label(path)}: it has no origin and there is no default: name one of"
                    f" {', '.join(origins)}"
                )
            elif route.origin is not None and route.origin not in origins:
                cure = did_you_mean(route.origin, list(origins)).replace("leave it out", "")
                cure = cure or f"use {', '.join(origins) or 'one that you define'}"
                place = self._label((*path, "origin"))
                self._say(f"{place}: there is no origin {route.origin!r}: {cure}")

    def _say(self, *lines: str) -> None:
        self._problems.update(dict.fromkeys(lines))

    def _place_in_file(self, problem: str) -> int:
        """Its line; what has none comes first."""
        name = "" if self._file is None else self._file.name
        line = problem.removeprefix(f"{name}:").partition(":")[0]
        return int(line) if line.isdigit() else 0


def _underscore(name: str) -> str:
    """Names as the command line has them are understood as well."""
    return name.replace("-", "_")


def _underscored(path: Place) -> Place:
    """The place under the name that the settings have, in tables of settings."""
    if path and path[0] == "origins":
        if len(path) > 2:
            return (*path[:2], _of_origin(_underscore(str(path[2]))), *path[3:])
        return path
    if len(path) > 2 and path[0] in _TABLES:
        return (*path[:2], _underscore(str(path[2])), *path[3:])
    return (_underscore(str(path[0])), *path[1:]) if path else path


def _of_origin(name: str) -> str:
    """In the table of an origin its settings need not say that they are an origin's."""
    long = f"origin_{name}"
    return long if long in OriginSettings.model_fields else name


def _dotted(path: Place) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
