"""A whole configuration, from command line, environment, file and defaults.

The command line wins over the environment, that over the file, and that over the defaults. What is
set for all, wherever, is the default of every origin and route; what a table of the file says of
its own origin or route holds there.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from caching_proxy import setting_kinds as kinds
from caching_proxy.declared import (
    Declared,
    Given,
    Place,
    SettingsError,
    did_you_mean,
    from_command_line,
    from_environment,
)
from caching_proxy.inputs import one_line, shown
from caching_proxy.origin_settings import OriginSettings
from caching_proxy.references import looked_up_once, read_file
from caching_proxy.settings import Listener, Origin, Route, RouteSettings, Settings
from caching_proxy.toml_positions import positions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = "caching-proxy.toml"
DEFAULT = "default"
"""The name of the origin, and of the route, for all that no route of the file takes."""
MOST_STRANGE = 100
"""Settings that there are not, of which each is told."""
NOTHING_KNOWN: Mapping[str, str] = {}
_TABLES = ("listeners", "origins", "routes")
_EVERY_INTERFACE = {"", "0.0.0.0", "::"}  # noqa: S104
_LISTENING = ("host", "port", "unix_socket")
_SYNTAX = re.compile(r"(?P<cause>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)")

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
            octets = read_file(path)
        except OSError as error:
            raise SettingsError(
                [f"{path}: {error.strerror}: name a file that can be read with --config"]
            ) from None
        except ValueError as error:
            raise SettingsError([f"{path}: {error}"]) from None
        try:
            return cls(str(path), octets.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line = octets.count(b"\n", 0, error.start) + 1
            raise SettingsError([f"{path}:{line}: it is not UTF-8: save it as that"]) from None


@dataclass(frozen=True)
class Configuration:
    """All that a proxy is told; the processes of one proxy have the same.

    `routes` are tried in order; where there is a default origin the last one takes the rest.
    `origins` are by name. `sources` tells who gave a setting, by its name and, in tables of the
    file, by its path there (`routes[0].cache_ttl`). `found` is what stood elsewhere, by reference.
    `stamp` is the file's (`Sources.stamp`) from before it was read.
    """

    settings: Settings
    listeners: tuple[Listener, ...]
    origins: Mapping[str, Origin]
    routes: tuple[Route, ...]
    sources: Mapping[str, str] = field(default_factory=dict)
    file: ConfigurationFile | None = None
    found: Mapping[str, str] = field(default_factory=dict)
    stamp: tuple[int, ...] = ()

    def share(self, workers: int) -> Configuration:
        """One worker's of so many: of memory and connections it gets its share."""
        settings = self.settings
        limit = settings.max_connections
        changes: dict[str, Any] = {"memory": settings.memory // workers}
        if limit is not None:
            changes["max_connections"] = -(-limit // workers)
        origins = {name: origin.share(workers) for name, origin in self.origins.items()}
        return replace(self, settings=settings.model_copy(update=changes), origins=origins)

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
    paths = route.path and "/" not in route.path
    return bool(route.host or paths or route.pattern or route.method or route.header)


@dataclass(frozen=True)
class Sources:
    """Where a configuration comes from; `load` reads it, again and again."""

    given: Mapping[str, Any]
    environment: Mapping[str, str]
    path: Path | None = None

    def load(self) -> Configuration:
        """The configuration as it is now. SettingsError names all that is wrong."""
        stamp = self.stamp()
        file = None if self.path is None else ConfigurationFile.read(self.path)
        return replace(configure(self.given, self.environment, file), stamp=stamp)

    def stamp(self) -> tuple[int, ...]:
        """What changes when the file does."""
        if self.path is None:
            return ()
        try:
            found = self.path.stat()
        except OSError:
            return (0,)
        return found.st_mtime_ns, found.st_size, found.st_ino


def find_file(named: str | None) -> Path | None:
    """The file that is named, else caching-proxy.toml where there is one."""
    if named is not None:
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def configure(
    given: Mapping[str, Any],
    environment: Mapping[str, str],
    file: ConfigurationFile | None = None,
    known: Mapping[str, str] = NOTHING_KNOWN,
) -> Configuration:
    """The configuration of these. SettingsError names all that is wrong, by line.

    `known` is what stands elsewhere, where that has been looked up already.
    """
    with looked_up_once(known) as found:
        return replace(_Reader(given, environment, file).read(), found=found)


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
        self._route_tables: dict[int, dict[str, Any]] = {}
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
        if settings is not None:
            self._check_places(settings, listeners)
        self._check_names(origins)
        if DEFAULT in origins:
            routes.append(self._quietly(Route, RouteSettings, {"route": DEFAULT}))
        if self._problems or settings is None:
            raise SettingsError(sorted(self._problems, key=self._place_in_file))
        return Configuration(
            settings,
            tuple([listener for listener in listeners if listener is not None]),
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
        except (ValueError, RecursionError) as error:
            raise SettingsError([self._syntax(error)]) from None
        self._lines = {
            _underscored(path): line for path, line in positions(self._file.text).items()
        }
        return self._plain(document, ())

    def _syntax(self, error: Exception) -> str:
        """Where a document is no TOML, and why."""
        assert self._file is not None
        if isinstance(error, RecursionError):
            return f"{self._file.name}:1: its values are nested too deeply: flatten them"
        found = _SYNTAX.fullmatch(str(error))
        line = self._file.text.count("\n") + 1
        if not isinstance(error, tomllib.TOMLDecodeError):  # Python reads no more digits
            longest = max(re.finditer("[0-9_]+", self._file.text), key=lambda run: len(run[0]))
            line = self._file.text.count("\n", 0, longest.start()) + 1
            return f"{self._file.name}:{line}: a number has {len(longest[0])} digits: correct it"
        if found is not None and found["line"] is not None:
            line = int(found["line"])
        cause = one_line(str(error) if found is None else found["cause"])
        return f"{self._file.name}:{line}: it is not TOML ({cause}): correct it"

    def _plain(self, table: Mapping[str, Any], path: Place) -> dict[str, Any]:
        """A table of settings under the names that these have here."""
        plain: dict[str, Any] = {}
        for key, value in table.items():
            name = _underscore(key)
            if path[:1] == ("origins",):
                name = _of_origin(name)
            if name in plain:
                self._say(f"{self._label((*path, name))}: it is given twice: leave one out")
            plain[name] = value
        return plain

    def _from_file(self, document: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
        strange = [name for name in document if name not in Settings.model_fields]
        for name in strange[:MOST_STRANGE]:
            cure = did_you_mean(name, [*Settings.model_fields, *_TABLES], Declared.elsewhere)
            self._say(f"{self._label((name,))}: there is no such setting: {cure}")
        if more := strange[MOST_STRANGE:]:
            self._say(
                f"{self._label((more[0],))}: there is no such setting, nor {len(more) - 1} others"
                " behind it: see whether this is the right file"
            )
        for name, value in document.items():
            if name in Settings.model_fields:
                yield name, Given(value, self._label((name,)), self._source((name,)), True)

    def _in_tables(self) -> dict[str, str]:
        return {_dotted(path): self._source(path) for path in self._lines if len(path) > 2}

    def _label(self, path: Place) -> str:
        """File, line and path, as far as the path is in the file."""
        return f"{self._source(path)}: {one_line(_dotted(path))}"

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
        tables = dict(self._named("origins"))
        if "origin" in self._top:
            given = self._top["origin"]
            if DEFAULT in tables and given.in_file:
                self._say(
                    f"{given.label}: there is a table origins.{DEFAULT} as well: leave one out"
                )
            tables[DEFAULT] = {**tables.get(DEFAULT, {}), "url": given.value}
        for name, table in tables.items():
            path = ("origins", name)
            try:
                kinds.LABEL.value(name)
            except ValueError as error:
                self._say(f"{self._label(path)}: {error}")
            origins[name] = self._table(Origin, OriginSettings, table, path)
        return origins

    def _routes(self) -> list[Route | None]:
        routes = []
        for number, table in self._listed("routes"):
            table = {"route": f"routes-{number}", **table}
            self._route_tables[number] = table
            routes.append(self._table(Route, RouteSettings, table, ("routes", number)))
        return routes

    def _listeners(self) -> list[Listener | None]:
        """Those of the file, unless command line or environment tell what to listen on."""
        named = [self._top[name] for name in _LISTENING if name in self._top]
        overridden = not all(given.in_file for given in named)
        backlog = {"backlog": self._top["backlog"].value} if "backlog" in self._top else {}
        found = [
            self._table(Listener, Declared, backlog | table, ("listeners", number))
            for number, table in self._listed("listeners")
        ]
        if found and named and not overridden:
            self._say(f"{named[0].label}: there are [[listeners]] as well: leave one of them out")
        return [] if overridden else found

    def _named(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        tables = self._tables[name]
        if tables is not None and not isinstance(tables, dict):
            self._say(f"{self._label((name,))}: it is no table: write [{name}.NAME]")
            return
        for key, table in (tables or {}).items():
            if isinstance(table, dict):
                yield key, self._plain(table, (name, key))
            else:
                self._say(f"{self._label((name, key))}: it is no table: write [{name}.{key}]")

    def _listed(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        tables = self._tables[name]
        if tables is not None and not isinstance(tables, list):
            self._say(f"{self._label((name,))}: it is no list of tables: write [[{name}]]")
            return
        for number, table in enumerate(tables or []):
            if isinstance(table, dict):
                yield number, self._plain(table, (name, number))
            else:
                self._say(f"{self._label((name, number))}: it is no table: write [[{name}]]")

    def _table(
        self, model: type[Model], common: type[Declared], table: dict[str, Any], path: Place
    ) -> Model | None:
        """The model of a table; what it leaves out is as for all."""

        def label(inner: Place) -> str:
            name = str(inner[0]) if inner else ""
            if name == "url" and "origin" in self._top and path[-1] == DEFAULT:
                name = "origin"
            if name not in table and name in self._top:
                return self._top[name].label
            if self._file is None and name in Settings.model_fields:
                return Settings.declaration(name).flag
            return self._label((*path, *inner))

        for name in model.model_fields:
            nested = model.declaration(name).table
            if nested is not None and name in table:
                table = {**table, name: self._nested(table[name], (*path, name))}
        return self._model(model, self._common(common) | table, label, table)

    def _nested(self, value: Any, path: Place) -> Any:
        """Tables in a table under the names that their settings have here."""
        if isinstance(value, dict):
            return self._plain(value, path)
        if isinstance(value, list):
            return [self._nested(item, (*path, number)) for number, item in enumerate(value)]
        return value

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
        self,
        model: type[Model],
        values: Mapping[str, Any],
        label: Callable[[Place], str],
        own: Collection[str] | None = None,
    ) -> Model | None:
        try:
            return model.read(values, label, own)
        except SettingsError as error:
            self._say(*error.lines)
            return None

    # -- what has to fit together

    def _check_places(self, settings: Settings, listeners: Sequence[Listener | None]) -> None:
        """That each place is listened on once."""
        if not listeners and any(
            _is_admins(settings, host, settings.port) for host in settings.host or [""]
        ):
            given = [self._top[name] for name in ("admin_port", "port") if name in self._top]
            self._say(
                f"{given[0].label}: --port and --admin-port are both {settings.port}:"
                " choose another one"
            )
        known: dict[int, tuple[str, int | None]] = {}
        for number, listener in enumerate(listeners):
            if listener is None or listener.place[1] == 0:
                continue
            label = self._label(("listeners", number, "address"))
            same = next((n for n, place in known.items() if _meet(place, listener.place)), None)
            if same is not None:
                self._say(f"{label}: listeners[{same}] has it as well: leave one out")
            elif _is_admins(settings, *listener.place):
                port = listener.place[1]
                self._say(f"{label}: the control API is on port {port}: choose another one")
            known[number] = listener.place

    def _check_names(self, origins: Mapping[str, Origin | None]) -> None:
        if not origins:
            if self._file is None:
                self._say("--origin is missing: give it, such as --origin https://example.com")
            else:
                self._say(
                    f'{self._file.name}: no origin is there: add origin = "https://example.com", or'
                    " tables [origins.NAME]"
                )
            return
        if DEFAULT not in origins and not self._route_tables:
            self._say(f"{self._label(('origins',))}: no route leads there: add [[routes]]")
        names = {DEFAULT}
        for number, table in self._route_tables.items():
            path = ("routes", number)
            name = table["route"]
            if isinstance(name, str) and name in names:
                self._say(
                    f"{self._label((*path, 'route'))}: {one_line(name)} is another route's name:"
                    " choose one"
                    " of its own"
                )
            names.add(str(name))
            self._check_origin(table.get("origin"), path, origins)

    def _check_origin(
        self, name: object, path: Place, origins: Mapping[str, Origin | None]
    ) -> None:
        """That the origin which a route names is there."""
        if name is None and DEFAULT not in origins:
            self._say(
                f"{self._label(path)}: it has no origin, nor is there a default one: name one of"
                f" {', '.join(origins)}"
            )
        elif isinstance(name, str) and name not in origins and kinds.is_label(name):
            near = difflib.get_close_matches(name, origins, n=1)
            cure = f"did you mean `{near[0]}`?" if near else f"use one of {', '.join(origins)}"
            self._say(f"{self._label((*path, 'origin'))}: there is no origin {shown(name)}: {cure}")

    def _say(self, *lines: str) -> None:
        self._problems.update(dict.fromkeys(lines))

    def _place_in_file(self, problem: str) -> int:
        """Its line; what has none comes first."""
        name = "" if self._file is None else self._file.name
        line = problem.removeprefix(f"{name}:").partition(":")[0]
        return int(line) if line.isdigit() else 0


def _is_admins(settings: Settings, host: str, port: int | None) -> bool:
    """Whether the control API listens at this place, or at a part of it."""
    admin = settings.admin_host, settings.admin_port
    return settings.admin and port != 0 and _meet((host, port), admin)


def _meet(one: tuple[str, int | None], other: tuple[str, int | None]) -> bool:
    """Whether two places, of which no interface or every one may be a part, are the same."""
    if one[1] != other[1]:
        return False
    hosts = {one[0], other[0]}
    if len(hosts) == 1:
        return True
    if one[1] is None or not hosts & _EVERY_INTERFACE:
        return False
    return "" in hosts or len({":" in host for host in hosts}) == 1


def _underscore(name: str) -> str:
    """Names as the command line has them are understood as well."""
    return name.replace("-", "_")


def _underscored(path: Place) -> Place:
    """The place under the names that settings have; names of fields and origins stay."""
    named = path[:1] == ("origins",)
    plain: list[str | int] = list(path[:2]) if named else []
    for step in path[len(plain) :]:
        if isinstance(step, int) or {"header", "set", "add"} & set(plain):
            plain.append(step)
        else:
            plain.append(_of_origin(_underscore(step)) if named else _underscore(step))
    return tuple(plain)


def _of_origin(name: str) -> str:
    """In the table of an origin its settings need not say that they are an origin's."""
    long = f"origin_{name}"
    return long if long in OriginSettings.model_fields else name


def _dotted(path: Place) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else json.dumps(step)
            text += f".{name}" if text else name
    return text
