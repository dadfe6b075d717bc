"""The files of a workspace that declare something: import one, and find what it declares."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lakehouse.errors import DeclarationError


class Declared(Protocol):
    """What a file of a workspace declares."""

    @property
    def full_name(self) -> str:
        """``layer.name``."""


S = TypeVar("S", bound=Declared)


def load_declaration(file: Path, layer: str, kind: type[S]) -> S:
    """Import a file of a workspace, and return the one table that it declares.

    Raises:
        DeclarationError: It cannot be imported, or declares anything but the table that it is named after.
    """
    full_name = f"{layer}.{file.stem}"
    found = [x for x in vars(load_module(file, layer)).values() if isinstance(x, kind)]
    if [x.full_name for x in found] != [full_name]:
        names = [x.full_name for x in found] or "nothing"
        raise DeclarationError(f"{file} must declare just {full_name}, like its name; it declares {names}.")
    return found[0]


def load_module(file: Path, group: str) -> Any:
    """Import one file of a workspace under a name of its own.

    Args:
        file: The Python file.
        group: Which folder it stands for; part of the module's name, so that files of the same name do not collide.

    Raises:
        DeclarationError: The file cannot be imported; the cause is chained.
    """
    name = f"tidemill_workspace.{group}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # get_type_hints and pickling look a module up by its name
    try:
        spec.loader.exec_module(module)
    except DeclarationError:
        raise
    except Exception as error:
        raise DeclarationError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def first_line(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (inspect.getdoc(function) or "").partition("\n")[0]
