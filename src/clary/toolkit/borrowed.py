"""A package without the modules that it imports for what a server never calls.

A replica imports once and holds what it imported as long as it lives: of XGBoost's 75 MB only 45 predict, the rest is SciPy and the
wrappers for scikit-learn. `lean` imports a package while such modules are stand-ins, and then takes the stand-ins away: who asks for
one of their names later imports the module itself and gets the thing itself, from the package too. Standard library only, Python 3.9.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Dict, Sequence, Tuple


class Borrowed:
    """What an import took from a stand-in. Where it stayed (a module's own globals) it may be called like the thing itself."""

    def __init__(self, module: str, name: str) -> None:
        self._from = module, name

    def __call__(self, *given: Any, **named: Any) -> Any:
        return found(self._from)(*given, **named)


class StandIn(ModuleType):
    """In the place of a module while another is imported; whoever kept it has the module's own names afterwards."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            return Borrowed(self.__name__, name)
        return getattr(importlib.import_module(self.__name__), name)


def found(where: Tuple[str, str]) -> Any:
    """The thing of that module and name."""
    module, name = where
    return getattr(importlib.import_module(module), name)


def lean(name: str, without: Sequence[str]) -> ModuleType:
    """The package, imported without these modules, unless it or they are there already."""
    if name in sys.modules:
        return sys.modules[name]
    standing = [StandIn(module) for module in without if module not in sys.modules]
    for each in standing:
        sys.modules[each.__name__] = each
    try:
        package = importlib.import_module(name)
    finally:
        for each in standing:
            del sys.modules[each.__name__]
            parent, _, tail = each.__name__.rpartition(".")
            if vars(sys.modules.get(parent, each)).get(tail) is each:
                delattr(sys.modules[parent], tail)
    _lends(package)
    return package


def _lends(package: ModuleType) -> None:
    """What it took from stand-ins it has by asking (PEP 562), and so as it is."""
    taken: Dict[str, Tuple[str, str]] = {
        name: each._from for name, each in vars(package).items() if isinstance(each, Borrowed)
    }
    for name in taken:
        delattr(package, name)

    def lend(name: str) -> Any:
        if name not in taken:
            raise AttributeError("module {!r} has no attribute {!r}".format(package.__name__, name))
        setattr(package, name, found(taken[name]))
        return getattr(package, name)

    package.__getattr__ = lend  # type: ignore[method-assign]
