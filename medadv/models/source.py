"""A model from the name of a function and a file of weights."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from medadv.models.checkpoint import load_weights
from medadv.models.victim import Victim


class SourceError(ValueError):
    """A model source that gives no model; the message is one sentence that names the source."""


def load_model(source: str, weights: Path | None = None) -> nn.Module:
    """Call the function that makes a model, and load weights into the model.

    The function is the user's own code and runs; the weights file never does (see load_weights). The model is
    returned in the mode (train or eval) in which the function left it.

    Args:
        source: "package.module:function" (looked up from the working folder too) or "file.py:function" (which
            may import its neighbours). The function takes no arguments.
        weights: safetensors or a plain .pt state dict; every name and shape must fit. A dtype may only widen.

    Raises:
        SourceError: the source or its function cannot be used, or the weights do not fit the model.
        UntrustedFile: the weights file is not a plain file of weights.

    >>> load_model("torch.nn:Flatten")
    Flatten(start_dim=1, end_dim=-1)
    """
    model = _made(source)
    if not isinstance(model, nn.Module):
        raise SourceError(
            f"model {source!r}: {_name(source)}() must return a torch.nn.Module, got {type(model).__name__}"
        )
    if weights is not None:
        _load(model, weights, load_weights(weights))
    return model


def load_victim(
    source: str,
    weights: Path | None = None,
    *,
    task: str = "multiclass",
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Victim:
    """Call the function that makes a model or a victim, and load weights into its module.

    Args:
        source, weights: as for `load_model`; no weights for a guarded victim, whose detector was fitted already.
        task, bounds: of the victim around a plain module; one that the function returns has its own.

    Returns:
        What the function returned, or a plain victim around it.

    Raises:
        SourceError, UntrustedFile: as `load_model`.

    >>> load_victim("torch.nn:Flatten", task="binary")
    Victim(Flatten, task=binary, bounds=(0.0, 1.0))
    """
    made = _made(source)
    if isinstance(made, nn.Module):
        made = Victim(made, task=task, bounds=bounds)
    if not isinstance(made, Victim):
        raise SourceError(
            f"model {source!r}: {_name(source)}() must return a torch.nn.Module or a medadv.models.Victim, "
            f"got {type(made).__name__}"
        )
    if weights is not None and made.guarded:
        raise SourceError(
            f"weights {weights}: they come too late for the detector of {source!r}, which is fitted already; load them "
            f"in {_name(source)}()"
        )
    if weights is not None:
        _load(made.module, weights, load_weights(weights))
    return made


def _made(source: str) -> Any:
    """What the function returns."""
    place, _, name = source.rpartition(":")
    if not place or not name:
        raise SourceError(f"model {source!r}: 'package.module:function' or 'file.py:function' expected")
    with _importable(Path(place).parent if place.endswith(".py") else Path.cwd()):
        function = _function(source, _module(source, place), name)
        return _run(source, f"{name}() failed", function)


def _name(source: str) -> str:
    return source.rpartition(":")[2]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _run(source: str, what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as error:  # the user's own code can raise anything
        reason = (str(error).splitlines() or [""])[0][:200]
        raise SourceError(f"model {source!r}: {what} ({type(error).__name__}: {reason})") from error


def _module(source: str, place: str) -> ModuleType:
    if not place.endswith(".py"):
        module: ModuleType = _run(source, "the import failed", lambda: importlib.import_module(place))
        return module
    path = Path(place)
    if not path.is_file():
        raise SourceError(f"model {source!r}: no file {place}")
    # A name of its own, so that a file called torch.py or test.py replaces no other module.
    name = f"medadv_model_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"model {source!r}: {place} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling in the file look their module up there
    loader = spec.loader
    _run(source, "the import failed", lambda: loader.exec_module(module))
    return module


def _function(source: str, module: ModuleType, name: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if not callable(function):
        raise SourceError(f"model {source!r}: there is no function {name!r} in it")
    try:
        inspect.signature(function).bind()
    except TypeError:
        raise SourceError(f"model {source!r}: {name} must need no arguments, but it needs some") from None
    except ValueError:  # a built-in without a signature: calling it will tell
        pass
    return function  # type: ignore[no-any-return]


def _load(model: nn.Module, path: Path, tensors: dict[str, Tensor]) -> None:
    expected = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        raise SourceError(
            f"weights {path}: {len(missing)} tensors are missing{_listed(missing)} and {len(unexpected)} are not part "
            f"of the model{_listed(unexpected)}{_hint(expected, tensors)}"
        )
    for name, value in expected.items():
        given = tensors[name]
        if given.shape != value.shape:
            raise SourceError(
                f"weights {path}: {name} has shape {list(given.shape)}, the model expects {list(value.shape)}"
            )
        if not _widens(given.dtype, value.dtype):
            raise SourceError(f"weights {path}: {name} is {given.dtype}, which does not fit into {value.dtype}")
    _run(str(path), "the weights cannot be loaded", lambda: model.load_state_dict(tensors, strict=True))


def _widens(given: torch.dtype, wanted: torch.dtype) -> bool:
    try:
        return torch.promote_types(given, wanted) == wanted
    except RuntimeError:  # torch promotes no 8-bit floats
        return given == wanted


def _hint(expected: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    if {f"module.{name}" for name in expected} != given.keys():
        return ""
    return "; these are a DataParallel's: save those of its .module"


def _listed(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
