"""Checks that Ray can send a class to its workers."""

from __future__ import annotations

import inspect

from ray import cloudpickle

from orchestrator.errors import ConfigError, last_line

LEFT_OUT = ("__dict__", "__weakref__", "_abc_impl")
"""Attributes of a class that Ray makes anew."""


def check_can_be_sent(kind: type, setting: str) -> None:
    """Refuse a class that Ray cannot send: one of a script or a notebook, of which it sends all attributes.

    A class of a module is sent by its name.

    Raises:
        ConfigError: names the attribute or the class, and why.
    """
    reason = _refusal(kind)
    if reason is not None:
        raise ConfigError(
            f"{_culprit(kind)} cannot be sent to the workers: {reason}; make such an object in a method, or import the "
            f"class from a module ({setting})"
        )


def _culprit(kind: type) -> str:
    """The attribute of the class that cannot be sent, or the class that is this attribute; else the class itself.

    Methods are not looked at: one that calls `super` fails for any attribute of its class.
    """
    for owner in kind.__mro__:
        for name, value in vars(owner).items():
            if name not in LEFT_OUT and not inspect.isroutine(value) and _refusal(value) is not None:
                return value.__name__ if inspect.isclass(value) else f"{owner.__name__}.{name}"
    return kind.__name__


def _refusal(value: object) -> str | None:
    """Why the value cannot be sent; None if it can."""
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001 (what a value of the user's own raises)
        return last_line(error)
    return None
