"""A statement of SQLAlchemy's compiled once to the driver's own text: running it costs the driver's call and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.sql import ClauseElement


@dataclass(frozen=True, slots=True)
class Compiled:
    """`order` of the parameters (None: by name), and those that the statement has itself."""

    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]

    @classmethod
    def of(cls, statement: ClauseElement, dialect: Dialect) -> Compiled:
        compiled = statement.compile(dialect=dialect)
        positions = getattr(compiled, "positiontup", None)
        constants = {name: value for name, value in (compiled.params or {}).items() if value is not None}
        return cls(str(compiled), tuple(positions) if positions is not None else None, constants)

    def run(self, cursor: Any, values: Mapping[str, Any]) -> Any:
        """Execute it; its cursor back."""
        if self.constants:
            values = {**self.constants, **values}
        cursor.execute(self.sql, values if self.order is None else tuple([values[name] for name in self.order]))
        return cursor

    def run_many(self, cursor: Any, values: Sequence[Mapping[str, Any]]) -> None:
        """Execute it without an answer, once for each of `values`; for a statement without constants."""
        assert not self.constants
        order = self.order
        cursor.executemany(self.sql, values if order is None else [tuple([e[key] for key in order]) for e in values])


class Texts:
    """Statements by name, for one database."""

    def __init__(self, statements: Mapping[str, ClauseElement], dialect: Dialect) -> None:
        self.texts: dict[Any, Compiled] = {name: Compiled.of(each, dialect) for name, each in statements.items()}

    def run(self, cursor: Any, name: str, /, **values: Any) -> Any:
        """Execute one; its cursor back."""
        return self.texts[name].run(cursor, values)

    def run_many(self, cursor: Any, name: str, values: Sequence[Mapping[str, Any]]) -> None:
        """Execute one without an answer, once for each of `values`."""
        self.texts[name].run_many(cursor, values)
