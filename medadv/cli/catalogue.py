"""The attacks that there are, read from their sources as text, so that listing them does not import torch.

An attack is here because `medadv.attacks.ATTACKS` names its class; nothing about a single attack is written down here.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from medadv.cli.errors import InputError

_PACKAGE = "medadv.attacks"
_OBJECTIVES = "medadv.objectives"
# Fields of an attack that have an option of the command line of their own, or that text cannot give.
_NOT_OPTIONS = {"seed", "gradient", "parts"}
GRADIENT = "gradient."
_GRADIENT_CLASS = ("medadv.attacks.search.gradient", "Gradient")
_NOT_GRADIENT_OPTIONS = {"diversity"}


@dataclass(frozen=True)
class Entry:
    """One attack.

    Args:
        name: on the command line.
        class_name: in Python.
        line: what it is, the first sentence of its class.
        budget_field: the field that is its budget; None where it looks for the smallest change.
        measure: in what the smallest change is measured; "" where it has a budget, or an option "norm".
        options: field to the source text of its default; "gradient.samples" and so on are fields of its field
            "gradient".
    """

    name: str
    class_name: str
    line: str
    budget_field: str | None
    measure: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def norm(self) -> str:
        """In what its change is measured by default; "" where neither a norm nor a measure says it."""
        return self.measure or self.options.get("norm", "").strip("'\"")


@dataclass(frozen=True)
class _Class:
    line: str
    texts: dict[str, str]
    fields: dict[str, str]


@cache
def catalogue() -> dict[str, Entry]:
    """All attacks of the registry, by name, in its order.

    >>> entry = catalogue()["square"]
    >>> entry.budget_field, entry.norm, entry.options["queries"]
    ('eps', 'linf', '5000')
    >>> catalogue()["ddn"].budget_field is None
    True
    """
    package = _parse(_PACKAGE)
    imports = _imports(package)
    entries = [_entry(name, _read_class(imports[name], name)) for name in _registered(package)]
    return {entry.name: entry for entry in entries}


@cache
def objectives() -> tuple[str, ...]:
    """What `objective=` may say; not what needs more than a word, such as the class that is the goal.

    >>> objectives()
    ('cross-entropy', 'margin', 'dlr', 'targeted-dlr', 'stabilised')
    """
    node = next(node for node in _parse(_OBJECTIVES).body if isinstance(node, ast.AnnAssign))
    assert isinstance(node.value, ast.Dict)
    words = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
    return tuple(word for word in words if isinstance(word, str) and word != "targeted")


def known(name: str, given: str) -> Entry:
    """The entry of an attack.

    Args:
        name: of the attack.
        given: what the user wrote, for the sentence of the error.

    Raises:
        InputError: there is no such attack.
    """
    if name not in catalogue():
        raise InputError(f"--attack {given}: unknown attack, {_instead(name)}")
    return catalogue()[name]


def _instead(name: str) -> str:
    near = get_close_matches(name, catalogue(), n=1)
    return f"did you mean {near[0]}" if near else f"choose from {', '.join(catalogue())}"


def _entry(class_name: str, found: _Class) -> Entry:
    budget_field = found.texts.get("budget_field")
    options = {name: text for name, text in found.fields.items() if name not in {budget_field, *_NOT_OPTIONS}}
    options |= _gradient_options(found.fields.get("gradient"))
    return Entry(found.texts["name"], class_name, found.line, budget_field, found.texts.get("measure", ""), options)


def _gradient_options(default: str | None) -> dict[str, str]:
    """The fields of a gradient, and their defaults where an attack has one such as "Gradient(neighbours=20)"."""
    if default is None:
        return {}
    call = ast.parse(default, mode="eval").body
    assert isinstance(call, ast.Call)
    changed = {str(word.arg): ast.unparse(word.value) for word in call.keywords}
    fields = _read_class(*_GRADIENT_CLASS).fields | changed
    return {GRADIENT + name: text for name, text in fields.items() if name not in _NOT_GRADIENT_OPTIONS}


@cache
def _parse(module: str) -> ast.Module:
    """A module of medadv, as a syntax tree."""
    place: Traversable = files(module.partition(".")[0])
    for part in module.split(".")[1:]:
        folder = place / part
        place = folder if folder.is_dir() else place / f"{part}.py"
    source = place / "__init__.py" if place.is_dir() else place
    text: str = source.read_text(encoding="utf-8")
    return ast.parse(text)


def _imports(module: ast.Module) -> dict[str, str]:
    """Imported names of medadv to their modules."""
    found = [node for node in module.body if isinstance(node, ast.ImportFrom) and str(node.module).startswith("medadv")]
    return {name.name: str(node.module) for node in found for name in node.names}


def _registered(package: ast.Module) -> list[str]:
    """The classes that the comprehension of ATTACKS runs over."""
    for node in package.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "ATTACKS":
            assert isinstance(node.value, ast.DictComp)
            return [ast.unparse(each) for each in ast.iter_child_nodes(node.value.generators[0].iter)][:-1]
    raise LookupError("medadv.attacks has no ATTACKS")


@cache
def _read_class(module: str, name: str) -> _Class:
    """A class with what it inherits from other classes of medadv."""
    tree = _parse(module)
    node = next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name)
    imports = _imports(tree)
    local = {each.name for each in tree.body if isinstance(each, ast.ClassDef)}
    texts: dict[str, str] = {}
    fields: dict[str, str] = {}
    for base in map(ast.unparse, node.bases):
        if base not in imports and base not in local:
            continue
        above = _read_class(imports.get(base, module), base)
        texts |= above.texts
        fields |= above.fields
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "measure":
            texts["measure"] = _returned(tree, item)
        if not isinstance(item, ast.AnnAssign):
            continue
        label = ast.unparse(item.target)
        if "ClassVar" not in ast.unparse(item.annotation):
            fields[label] = _default(tree, item.value)
        elif isinstance(item.value, ast.Constant):
            texts[label] = str(item.value.value)
    line = (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
    return _Class(line, texts, fields)


def _default(module: ast.Module, value: ast.expr | None) -> str:
    """The source text of a field's default; of `field(...)` and of a constant, what it stands for."""
    if isinstance(value, ast.Name):
        return _constant(module, value.id)
    if not isinstance(value, ast.Call) or ast.unparse(value.func) != "field":
        return "" if value is None else ast.unparse(value)
    given = {str(word.arg): word.value for word in value.keywords}
    if "default" in given:
        return _default(module, given["default"])
    factory = given["default_factory"]
    return ast.unparse(factory.body) if isinstance(factory, ast.Lambda) else f"{ast.unparse(factory)}()"


def _returned(module: ast.Module, function: ast.FunctionDef) -> str:
    """The text that a function returns, if it returns a constant; else ""."""
    last = function.body[-1]
    text = _default(module, last.value) if isinstance(last, ast.Return) else ""
    return text.strip("'") if text.startswith("'") else ""


def _constant(module: ast.Module, name: str) -> str:
    """The source text of a constant of a module, or of the module that it is imported from."""
    found = _imports(module).get(name)
    values = [
        node.value
        for node in (_parse(found) if found else module).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]
    return ast.unparse(values[0]) if values else name
