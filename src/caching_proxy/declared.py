"""Models whose every field is declared once: how values are read, layered and complained about."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, NoReturn, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from typing_extensions import Self

from caching_proxy import setting_kinds as kinds
from caching_proxy.inputs import shown

Place = tuple[str | int, ...]
"""Where a value stands in a table: names, and positions in lists."""
Label = Callable[[Place], str]
"""What a message calls the place of a value."""


class SettingsError(ValueError):
    """Settings that cannot be used; `lines` has one line a problem, with its cause and cure."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Given(NamedTuple):
    """A value as it was given, what messages call its place, and who gave it."""

    value: Any
    label: str
    source: str
    in_file: bool = False


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
    table: type[Declared] | None
    """The model of a setting that is a table, or a list of tables."""

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
        if self.required or self.is_switch or self.default is None or self.table is not None:
            return ""
        values = self.default if self.repeatable else [self.default]
        return ", ".join(self.kind.show(value) for value in values)


def setting(
    default: Any, kind: kinds.Kind, group: str, description: str, *, environment: str = ""
) -> Any:
    """Declare one setting; `...` as default makes it required, a list makes it repeatable."""
    extra: Any = {"kind": kind, "group": group, "environment": environment}
    return Field(default, description=description, json_schema_extra=extra)


class Declared(BaseModel):
    """A frozen model whose fields are all declared with `setting`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    elsewhere: ClassVar[dict[str, str]] = {}
    """Which table settings of other tables belong to, by name, for messages."""

    @classmethod
    def declarations(cls) -> Iterator[Declaration]:
        """Every setting, in the order of their declaration."""
        yield from map(cls.declaration, cls.model_fields)

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
            table=_table(field.annotation),
            **extra,
        )

    @classmethod
    def read(
        cls, values: Mapping[str, Any], label: Label, own: Collection[str] | None = None
    ) -> Self:
        """The model from these values; SettingsError names all that is wrong.

        `own` are the names of those that the table itself gives, where not all are.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            details = error.errors(include_url=False)
            layers = (values if own is None else own, values)
            lines = [line for detail in details for line in _lines(detail, label, cls, layers)]
            raise SettingsError(lines) from None

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        declared = cls.declaration(str(info.field_name))
        if (value is None and declared.default is None) or declared.table is not None:
            return value
        if not declared.repeatable:
            return declared.kind.value(value)
        return _read_each(declared.kind, value if isinstance(value, list) else [value])


def from_command_line(
    model: type[Declared], given: Mapping[str, Any]
) -> Iterator[tuple[str, Given]]:
    """What the command line gave, by name of the setting."""
    for name, value in given.items():
        label = model.declaration(name).flag if name in model.model_fields else name
        yield name, Given(value, label, "command line")


def from_environment(
    model: type[Declared], environment: Mapping[str, str]
) -> Iterator[tuple[str, Given]]:
    """What the environment gives; an empty variable counts as absent."""
    for declared in model.declarations():
        variable = declared.environment
        if variable and environment.get(variable):
            label = f"{variable} ({declared.flag})"
            yield declared.name, Given(environment[variable], label, f"environment {variable}")


class Disagreement(ValueError):
    """Values that are right each for itself and not together."""

    def __init__(self, names: tuple[str, ...], problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.names = names


def disagree(names: str | tuple[str, ...], *problems: str) -> NoReturn:
    """Say (cause: cure) that settings of one table do not go together.

    It is told where the first of `names` stands that is given.
    """
    raise Disagreement((names,) if isinstance(names, str) else names, list(problems))


_AT_HOME = 0.1  # by how much a name of the table itself may be less like what was written


def did_you_mean(
    word: str, known: Collection[str], elsewhere: Mapping[str, str] | None = None
) -> str:
    """The cure for a word that is not known, but perhaps in another table."""
    elsewhere = elsewhere or {}
    near = difflib.get_close_matches(word, [*known, *elsewhere])
    if not near:
        return "leave it out"

    def likeness(name: str) -> float:
        at_home = _AT_HOME if name in known else 0.0
        return difflib.SequenceMatcher(None, name, word).ratio() + at_home

    best = max(near, key=likeness)
    belongs = "" if best in known else f" It belongs to {elsewhere[best]}"
    return f"did you mean `{best}`?{belongs}"


def _table(annotation: Any) -> type[Declared] | None:
    found = next(iter(get_args(annotation)), annotation)
    return found if isinstance(found, type) and issubclass(found, Declared) else None


def _read_each(kind: kinds.Kind, values: list[Any]) -> list[Any]:
    read, problems = [], []
    for value in values:
        try:
            read.append(kind.value(value))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return read


def _lines(
    detail: ErrorDetails,
    label: Label,
    model: type[Declared],
    layers: tuple[Collection[str], ...],
) -> list[str]:
    """One line a problem: where, the value, what is wrong, what to do."""
    path = tuple(detail["loc"])
    if detail["type"] == "extra_forbidden":
        cure = did_you_mean(str(path[-1]), _names(model, path[:-1]), Declared.elsewhere)
        return [f"{label(path)}: there is no such setting: {cure}"]
    if detail["type"] == "missing":
        if any(difflib.get_close_matches(name, [str(path[-1])]) for name in layers[0]):
            return []  # it is there under a wrong name, which is told already
        return [f"{label(path[:-1])}: {path[-1]} is missing: give it"]
    if "error" not in detail.get("ctx", {}):
        kind = "a list of tables" if detail["type"] == "list_type" else "a table"
        given = detail["input"]  # a text may be a secret at the wrong place
        told = "a text" if isinstance(given, str) else shown(given)
        return [f"{label(path)}: {told} is not {kind}: write one"]
    error = detail["ctx"]["error"]
    if isinstance(error, Disagreement):
        known = [name for layer in layers for name in error.names if name in layer and not path]
        path = (*path, known[0] if known else error.names[0])
    return [f"{label(path)}: {line}" for line in str(error).splitlines()]


def _names(model: type[Declared], path: Place) -> list[str]:
    """The settings of the table at this path."""
    for step in path:
        if isinstance(step, str):
            model = model.declaration(step).table or model
    return list(model.model_fields)
