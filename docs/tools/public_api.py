"""The reference of the Python API: signatures and first sentences of what a program may import."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from docs.tools.markdown import code, page
from longshore import signals
from longshore.connections import Connections

_INTRODUCTION = """\
`from longshore import Longshore, shared_task` is all that most programs need. The names are Celery's: coming
[from Celery](../how-to/from-celery.md) says which are there."""
_SHARED_TASK = "shared_task(function)\nshared_task(name=None, **options)"
_EXCEPTIONS = """\
Every error of Longshore's own is a `LongshoreError` of `longshore.exceptions`. It holds one sentence: what is wrong and
what to do. It never holds a password."""


_SIGNALS = """\
`from longshore.signals import task_prerun`; `@task_prerun.connect` or `@task_prerun.connect(sender=add)`. A receiver is
called with `sender`, `signal` and what the list names, as keywords: take `**kwargs`. What it raises is logged and
changes nothing. In a worker, results are stored after `task_success` and `task_postrun` were told."""


def python_page() -> str:
    """Return the page."""
    from longshore import AsyncResult, Longshore, Task, shared_task
    from longshore.request import Request

    sections = [
        _INTRODUCTION,
        _class("Longshore", Longshore),
        "\n\n".join(["## shared_task", code(_SHARED_TASK, "python"), _said(shared_task)]),
        _class("Task", Task, options=True),
        _class("Request", Request, options=True),
        _class("AsyncResult", AsyncResult),
        f"## Signals\n\n{_SIGNALS}\n\n{_signals()}",
        f"## Exceptions\n\n{_EXCEPTIONS}\n\n{_exceptions()}",
    ]
    return page("Python", *sections)


def _signals() -> str:
    """A list of the signals with what the module says under each."""
    source = inspect.getsource(signals)
    found = re.findall(r'^(\w+) = Signal\("\w+"\)\n"""(.+?)"""$', source, re.MULTILINE | re.DOTALL)
    return "\n".join(f"- `{name}`: {' '.join(said.split())}" for name, said in found)


def _class(name: str, of: type, *, options: bool = False) -> str:
    parts = [f"## {name}", _said(of)]
    if options:
        parts.append(code("\n".join(_attributes(of)), "python"))
    parts += [_member(name, member) for member in _public(of)]
    return "\n\n".join(parts)


def _attributes(of: type) -> Iterator[str]:
    """Yield what a class declares, with its default."""
    for name, annotation in inspect.get_annotations(of).items():
        default = of.__dict__.get(name, _UNSET)
        shown = default.__name__ if isinstance(default, type) else repr(default).replace("'", '"')
        value = "" if default is _UNSET or inspect.ismemberdescriptor(default) else f" = {shown}"
        if not name.startswith("_"):
            yield f"{name}: {annotation}{value}"


_UNSET = object()


def _public(of: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class has, with what it has from a base of ours that has no section of its own."""
    members = {**(vars(Connections) if issubclass(of, Connections) else {}), **vars(of)}
    for name, member in members.items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            yield name, member


def _member(owner: str, found: tuple[str, Any]) -> str:
    name, member = found
    if isinstance(member, property):
        return f"### {owner}.{name}\n\n{_said(member)}"
    return f"### {owner}.{name}\n\n{code(f'{name}{_signature(member)}', 'python')}\n\n{_said(member)}"


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [one.replace(default=_plain(one.default)) for one in signature.parameters.values()]
    text = str(signature.replace(parameters=[one for one in parameters if one.name != "self"]))
    return re.sub(r"'([^']*)'", r"\1", text)


def _plain(default: Any) -> Any:
    """A marker for "not given" has an address in its repr, which differs from run to run."""
    return ... if type(default) is object else default


def _said(of: Any) -> str:
    """Return the docstring; its double backquotes are Markdown, too."""
    return inspect.getdoc(of) or ""


def _exceptions() -> str:
    from longshore import exceptions

    found = [
        one for one in vars(exceptions).values()
        if inspect.isclass(one) and issubclass(one, BaseException) and one.__module__ == exceptions.__name__
    ]  # fmt: skip
    return "\n".join(f"- `{one.__name__}` ({_bases(one)}): {_one_line(one)}" for one in found)


def _bases(of: type) -> str:
    return ", ".join(base.__name__ for base in of.__bases__)


def _one_line(of: type) -> str:
    return " ".join((inspect.getdoc(of) or "").split())
