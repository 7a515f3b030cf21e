"""The statements of the record store, each compiled once per database to the driver's own text.

SQLAlchemy writes the SQL (so that SQLite and PostgreSQL are both right) but does not run it: a hot read costs its driver
call and nothing else.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Dialect,
    TextClause,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.sql import ClauseElement

from clary.domain.conditions import LONGEST, All, Any_, Column, Condition, Member, Ordered, Term, number
from clary.domain.conditions import Text as Words
from clary.domain.resources import Query
from clary.stores.compiled import Compiled, Texts
from clary.stores.schema import CHANGES, GRANTS, MACHINES, RESOURCES, TERMS

C = RESOURCES.c
N = CHANGES.c
M = MACHINES.c
G = GRANTS.c
T = TERMS.c
_LITERAL, _ESCAPED = re.compile(r"[\\%_]"), r"\\\g<0>"
COLUMNS = (C.kind, C.account, C.region, C.name, C.arn, C.status, C.created, C.modified, C.document, C.version)

_KEY = (C.kind == bindparam("k"), C.account == bindparam("a"), C.region == bindparam("r"), C.name == bindparam("n"))
_GUARD = (*_KEY, C.version == bindparam("v"))
_HELD = C.claimed_by == bindparam("owner")
_CHANGES = {
    C.status: bindparam("new_status"),
    C.modified: bindparam("new_modified"),
    C.document: bindparam("new_document"),
    C.version: C.version + 1,
}

GRANT_COLUMNS = tuple(column for column in G)  # in the order of the table

_NAMED = (N.arn, N.removed)
_BEHIND = (N.seq > bindparam("after"), N.seq <= bindparam("last"))

_FIXED: Mapping[str, ClauseElement] = {
    "get": select(*COLUMNS).where(*_KEY),
    "by_arn": select(*COLUMNS).where(C.arn == bindparam("arn")),
    "made": select(*COLUMNS).where(C.made_by == bindparam("by"), C.made_by != literal_column("''")),
    "save": update(RESOURCES).where(*_GUARD).values(_CHANGES),
    "save_held": update(RESOURCES).where(*_GUARD, _HELD).values(_CHANGES),
    "remove": delete(RESOURCES).where(*_GUARD),
    "remove_held": delete(RESOURCES).where(*_GUARD, _HELD),
    # Each by itself: SQLite finds one of them at once, and reads the whole table for both.
    "ends": select(select(func.min(N.seq)).scalar_subquery(), select(func.max(N.seq)).scalar_subquery()),
    "changed_by_others": select(*_NAMED).where(*_BEHIND, N.made_by != bindparam("by")).order_by(N.seq),
    "changed_by": select(*_NAMED).where(*_BEHIND, N.made_by == bindparam("by")).order_by(N.seq),
    "note": insert(CHANGES).values({column: bindparam(f"new_{column.name}") for column in N if column.name != "seq"}),
    # The oldest thousands, found by their numbers alone. The newest row stays.
    "prune": delete(CHANGES).where(
        N.at < bindparam("old"),
        N.seq < select(func.min(N.seq) + bindparam("most")).scalar_subquery(),
        N.seq < select(func.max(N.seq)).scalar_subquery(),
    ),
    "scopes": select(C.account, C.region).where(C.kind == bindparam("k")).distinct().order_by(C.account, C.region),
    "id": select(C.id).where(C.arn == bindparam("arn")),
    "find_by": insert(TERMS).values(
        term=bindparam("new_term"), value=bindparam("new_value"), resource=bindparam("new_resource")
    ),
    "lose": delete(TERMS).where(T.resource == bindparam("resource_of")),
    "all": select(C.id, *COLUMNS).where(C.id > bindparam("after")).order_by(C.id).limit(bindparam("most")),
    # A machine without a row has version 0, and one row without a grant where nothing is given.
    "granted": select(M.version, *GRANT_COLUMNS)
    .select_from(MACHINES.outerjoin(GRANTS, G.machine == M.name))
    .where(M.name == bindparam("machine"))
    .order_by(G.since, G.key),
    "guard_machine": update(MACHINES)
    .where(M.name == bindparam("machine"), M.version == bindparam("read"))
    .values(version=M.version + 1),
    "touch_machine": update(MACHINES)
    .where(M.name == select(G.machine).where(G.key == bindparam("of")).scalar_subquery())
    .values(version=M.version + 1),
    "give_back": delete(GRANTS).where(G.key == bindparam("of")),
    "release": update(RESOURCES).where(*_KEY, _HELD).values(claimed_by="", claimed_until=0.0),
}


class Statements(Texts):
    """Texts for one database: the fixed ones by name, others by their shape."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(_FIXED, dialect)
        self._dialect = dialect
        self._lite = dialect.name == "sqlite"
        # The dialect that is in use is loaded already; the other costs a tenth of the control plane's start.
        insert_or_not = importlib.import_module(f"sqlalchemy.dialects.{dialect.name}").insert
        row: dict[Any, Any] = {column: bindparam(f"new_{column.name}") for column in (*COLUMNS, C.made_by, C.alone)}
        # A name that is taken is no error inside the transaction, which others share: no row is the answer.
        self.texts["add"] = self._compiled(insert_or_not(RESOURCES).values(row).on_conflict_do_nothing())
        first = insert_or_not(MACHINES).values(name=bindparam("machine"), version=1)
        self.texts["first_of_machine"] = self._compiled(first.on_conflict_do_nothing())
        given: dict[Any, Any] = {column: bindparam(f"new_{column.name}") for column in GRANT_COLUMNS}
        grant = insert_or_not(GRANTS).values(given)
        again: dict[Any, Any] = {name: grant.excluded[name] for name in GRANTS.columns.keys() if name != "key"}  # noqa: SIM118
        again["version"] = G.version + literal_column("1")
        self.texts["give"] = self._compiled(grant.on_conflict_do_update(index_elements=[G.key], set_=again))

    def page(self, cursor: Any, query: Query) -> Any:
        """The rows of one page, in order."""
        return self._queried(cursor, "page", query, lambda: self._page(query))

    def count(self, cursor: Any, query: Query) -> Any:
        return self._queried(
            cursor, "count", query, lambda: select(func.count()).select_from(RESOURCES).where(*self._filters(query))
        )

    def _queried(self, cursor: Any, what: str, query: Query, made: Callable[[], ClauseElement]) -> Any:
        """Texts are kept by their shape, but for those of conditions that users compose: there is no end of shapes."""
        values = _values(query) | self._where(query)
        if query.condition is not None:
            values |= dict(_bound(query.condition, "c"))
            if not isinstance(query.condition, Term):
                return self._compiled(made()).run(cursor, values)
        shape = (what, _shape(query))
        if shape not in self.texts:
            self.texts[shape] = self._compiled(made())
        return self.texts[shape].run(cursor, values)

    def claim(
        self, cursor: Any, kind: str, owner: str, now: float, until: float, statuses: Any, limit: int, arns: Any
    ) -> Any:
        """Lease and answer rows in one statement. A server goes by its own clock: those of several control planes may differ."""
        shape = ("claim", len(statuses), len(arns))
        if shape not in self.texts:
            self.texts[shape] = self._compiled(_claim(len(statuses), len(arns), self._lite))
        values = {"k": kind, "owner": owner, "most": limit}
        values |= {"now": now, "until": until} if self._lite else {"seconds": until - now}
        values |= {f"s{n}": status for n, status in enumerate(statuses)}
        values |= {f"arn{n}": arn for n, arn in enumerate(arns)}
        return self.texts[shape].run(cursor, values)

    def _compiled(self, statement: ClauseElement) -> Compiled:
        return Compiled.of(statement, self._dialect)

    def _page(self, query: Query) -> ClauseElement:
        """The ids from an index alone, then their rows: documents of records that do not match are never read."""
        sort = C[query.sort_by]
        keys = (C.name,) if query.sort_by == "name" else (sort, C.name)
        order = [key.desc() if query.descending else key.asc() for key in keys]
        conditions = self._filters(query)
        if query.after is not None:
            names = ("after_name",) if len(keys) == 1 else ("after_value", "after_name")
            ends: list[ColumnElement[Any]] = [bindparam(name) for name in names]
            left, right = tuple_(*keys), tuple_(*ends)
            conditions.append(left < right if query.descending else left > right)
        inner = select(C.id).where(*conditions).order_by(*order).limit(bindparam("most")).subquery()
        return select(*COLUMNS).where(C.id.in_(select(inner.c.id))).order_by(*order)

    def _filters(self, query: Query) -> list[Any]:
        found: list[Any] = [
            C.kind == bindparam("k"),
            C.account == bindparam("a"),
            C.region == bindparam("r"),
        ]
        if query.name_contains:
            # SQLite's LIKE ignores the case of ASCII, twice as fast as its functions would
            like = C.name.like if self._lite else C.name.ilike
            found.append(like(bindparam("part"), escape="\\"))
        for column, name in ((C.created, "created"), (C.modified, "modified")):
            if getattr(query, f"{name}_after") is not None:
                found.append(column > bindparam(f"{name}_after"))
            if getattr(query, f"{name}_before") is not None:
                found.append(column < bindparam(f"{name}_before"))
        if query.statuses:
            found.append(C.status.in_([bindparam(f"s{n}") for n in range(len(query.statuses))]))
        for n in range(len(query.where)):
            if self._lite:
                found.append(func.json_extract(C.document, bindparam(f"path{n}")) == bindparam(f"is{n}"))
            else:
                field = literal_column("document::jsonb").op("->>")(bindparam(f"path{n}"))
                found.append(field == bindparam(f"is{n}"))
        if query.condition is not None:
            found.append(self._condition(query.condition, "c"))
        return found

    def _condition(self, condition: Condition, at: str) -> ColumnElement[bool] | TextClause:
        """SQL of a condition, whose parameters are named after its place in the tree (`_bound` gives their values)."""
        match condition:
            case Term():
                return C.id.in_(
                    select(T.resource).where(T.term == bindparam(f"{at}_term"), T.value == bindparam(f"{at}_value"))
                )
            case Column(column, operator, _):
                if operator == "contains":
                    return self._like(C[column], at)
                compare: ColumnElement[bool] = C[column].op(operator, is_comparison=True)(bindparam(f"{at}_value"))
                return compare
            case Words():
                return self._like(C.document, at)
            case Member():
                return self._member(at)
            case Ordered(_, operator, _):
                return self._ordered(at, operator)
            case All(conditions):
                return and_(true(), *(self._condition(each, f"{at}_{n}") for n, each in enumerate(conditions)))
            case Any_(conditions):
                return or_(false(), *(self._condition(each, f"{at}_{n}") for n, each in enumerate(conditions)))

    def _like(self, column: ColumnElement[Any], at: str) -> ColumnElement[bool]:
        like = column.like if self._lite else column.ilike
        return like(bindparam(f"{at}_part"), escape="\\")

    def _member(self, at: str) -> ColumnElement[bool] | TextClause:
        """Equal as text, or as the number or truth value that the text may be."""
        if self._lite:
            found: ColumnElement[Any] = func.json_extract(C.document, bindparam(f"{at}_path"))
            as_number: ColumnElement[Any] = bindparam(f"{at}_number")
            return or_(found == bindparam(f"{at}_value"), found == as_number)
        return text(
            f"CAST(document AS jsonb) #> CAST(:{at}_keys AS text[]) IN (CAST(:{at}_text AS jsonb), CAST(:{at}_json AS jsonb))"
        )

    def _where(self, query: Query) -> dict[str, Any]:
        """Parameters of `where`: the path is written as each database wants it."""
        found: dict[str, Any] = {}
        for n, (key, value) in enumerate(query.where.items()):
            found[f"path{n}"] = f'$."{key}"' if self._lite else key
            found[f"is{n}"] = value
        return found

    def _ordered(self, at: str, operator: str) -> ColumnElement[bool] | TextClause:
        """What is no number is 0 to SQLite, and let through on PostgreSQL, which would refuse to cast it."""
        if self._lite:
            return text(f"CAST(json_extract(document, :{at}_path) AS REAL) {operator} :{at}_value")
        found = f"(CAST(document AS jsonb) #>> CAST(:{at}_keys AS text[]))"
        plain = "'^ *[-+]?([0-9]{1,200}[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]{1,2})? *$'"
        return text(
            f"CASE WHEN {found} ~ {plain} THEN CAST({found} AS float8) {operator} :{at}_value ELSE {found} IS NOT NULL END"
        )


def _bound(condition: Condition, at: str) -> Iterator[tuple[str, Any]]:
    """The values of the parameters of `Statements._condition`."""
    match condition:
        case Term(key, value):
            yield from ((f"{at}_term", key), (f"{at}_value", value[:LONGEST]))
        case Column(_, _, value):
            yield from ((f"{at}_value", value), (f"{at}_part", _part(str(value))))
        case Words(text):
            yield f"{at}_part", _part(text)
        case Member(path, value):
            words = {"true": 1.0, "false": 0.0}
            as_number = words.get(value.lower(), number(value))
            yield from ((f"{at}_value", value), (f"{at}_number", as_number))
            yield f"{at}_path", "$" + "".join(f'."{step}"' for step in path)
            yield f"{at}_keys", list(path)
            yield f"{at}_text", orjson.dumps(value).decode()
            yield f"{at}_json", value.lower() if value.lower() in words else orjson.dumps(as_number).decode()
        case Ordered(path, _, value):
            yield from ((f"{at}_value", value), (f"{at}_keys", list(path)))
            yield f"{at}_path", "$" + "".join(f'."{step}"' for step in path)
        case All(conditions) | Any_(conditions):
            for n, each in enumerate(conditions):
                yield from _bound(each, f"{at}_{n}")


def _part(text: str) -> str:
    """A pattern for LIKE: what contains the text."""
    return f"%{_LITERAL.sub(_ESCAPED, text)}%"


def _claim(statuses: int, arns: int, lite: bool) -> ClauseElement:
    clock: ColumnElement[Any] = literal_column("extract(epoch FROM clock_timestamp())")
    now: ColumnElement[Any] = bindparam("now") if lite else clock
    until: ColumnElement[Any] = bindparam("until") if lite else clock + bindparam("seconds")
    conditions = [
        C.kind == bindparam("k"),
        C.status.in_([bindparam(f"s{n}") for n in range(statuses)]),
        (C.claimed_by == "") | (C.claimed_by == bindparam("owner")) | (C.claimed_until <= now),
    ]
    if arns:
        conditions.append(C.arn.in_([bindparam(f"arn{n}") for n in range(arns)]))
    free = (
        select(C.id)
        .where(*conditions)
        .order_by(C.claimed_until)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )
    return (
        update(RESOURCES)
        .where(C.id.in_(free.scalar_subquery()))
        .values({C.claimed_by: bindparam("owner"), C.claimed_until: until})
        .returning(*COLUMNS)
    )


def _shape(query: Query) -> tuple[Any, ...]:
    """What the text of a query depends on."""
    return (
        query.sort_by,
        query.descending,
        query.after is not None,
        bool(query.name_contains),
        query.created_after is not None,
        query.created_before is not None,
        query.modified_after is not None,
        query.modified_before is not None,
        len(query.statuses),
        len(query.where),
        query.condition is not None,
    )


def _values(query: Query) -> dict[str, Any]:
    values: dict[str, Any] = {
        "k": query.kind,
        "a": query.scope.account,
        "r": query.scope.region,
        "part": _part(query.name_contains),
        "created_after": query.created_after,
        "created_before": query.created_before,
        "modified_after": query.modified_after,
        "modified_before": query.modified_before,
        "most": query.limit,
    }
    values |= {f"s{n}": status for n, status in enumerate(query.statuses)}
    if query.after is not None:
        values |= {"after_value": query.after[0], "after_name": query.after[1]}
    return values
