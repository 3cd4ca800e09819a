"""A setting's type, bounds, default and description in words, for errors, help texts and references.

Reads the fields of pydantic's models; does not know what a setting means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic.fields import FieldInfo

TYPES = {str: "string", int: "integer", float: "number", bool: "true or false", Any: "anything"}


def description_of(field: FieldInfo) -> str:
    """The field's docstring on one line."""
    assert field.description, "every setting has a docstring"
    return " ".join(field.description.split())


def type_of(field: FieldInfo) -> str:
    """The field's type, such as `integer` or `list of strings`."""
    return _described(_annotation(field))[0]


def bounds_of(field: FieldInfo) -> str:
    """The field's bounds, such as `1 to 64` or `at least 0, below 1`; empty if it has none."""
    return _described(_annotation(field))[1]


def default_of(field: FieldInfo) -> str:
    """The field's default as a TOML value; empty if it is None or empty."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == {}:
        return ""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _annotation(field: FieldInfo) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _described(annotation: Any) -> tuple[str, str]:
    """Type and bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, limits = _described(arguments[0])
        return kind, limits or _bounds([*_constraints(arguments[1:])])
    if origin in (Union, UnionType):
        parts = [_described(part) for part in arguments if part is not NoneType]
        bounds = dict.fromkeys(limits for _, limits in parts if limits)
        return " or ".join(kind for kind, _ in parts), ", ".join(bounds)
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in arguments), ""
    if origin is dict:
        inner, limits = _described(arguments[1])
        return ("table" if arguments[1] is Any else f"table of {inner}s"), limits
    if origin is not None and issubclass(origin, Sequence):
        inner, limits = _described(arguments[0])
        return f"list of {inner}s", limits
    return TYPES[annotation], ""


def _constraints(metadata: Sequence[Any]) -> Iterator[Any]:
    """The constraints of a value; a `Field(ge=0)` inside `Annotated` holds several."""
    for one in metadata:
        yield from one.metadata if isinstance(one, FieldInfo) else [one]


def _bounds(declared: Sequence[Any]) -> str:
    found = {type(one): one for one in declared}
    least, above, most, below, length = (found.get(kind) for kind in (Ge, Gt, Le, Lt, MaxLen))
    if least and most:
        return f"{least.ge} to {most.le}"
    words = [
        f"at least {least.ge}" if least else "",
        f"above {above.gt}" if above else "",
        f"at most {most.le}" if most else "",
        f"below {below.lt}" if below else "",
        f"at most {length.max_length} characters" if length else "",
    ]
    return ", ".join(word for word in words if word)
