"""What the protocols ask of a botocore shape, asked once and kept.

Owns: per-shape tables (members with their wire names, where each member of a request or an answer lives). Refuses to
know: any one protocol's bytes. botocore computes ``serialization`` and ``members`` lazily and again for each reference, so
the tables are kept per shape object, weakly: a model that goes takes its tables along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel, Shape


class Member(NamedTuple):
    """One member of a structure: the model's name, the name on the wire, its shape."""

    name: str
    wire: str
    shape: Any


class Places(NamedTuple):
    """Where the members of an HTTP message live (rest protocols)."""

    uri: dict[str, Member]
    query: tuple[Member, ...]
    query_map: Member | None
    header: tuple[Member, ...]
    header_maps: tuple[Member, ...]
    status: Member | None
    payload: Member | None
    body: tuple[Member, ...]


_members: WeakKeyDictionary[Shape, tuple[Member, ...]] = WeakKeyDictionary()
_by_wire: WeakKeyDictionary[Shape, dict[str, Member]] = WeakKeyDictionary()
_places: WeakKeyDictionary[Shape, Places] = WeakKeyDictionary()
_answer_places: WeakKeyDictionary[Shape, Places] = WeakKeyDictionary()


def members(shape: Any) -> tuple[Member, ...]:
    """The members of a structure in the model's order, named as JSON and XML name them (``locationName``)."""
    found = _members.get(shape)
    if found is None:
        found = tuple(
            Member(name, member.serialization.get("name", name), member) for name, member in shape.members.items()
        )
        _members[shape] = found
    return found


def member_table(shape: Any) -> dict[str, Member]:
    """The same members, found by the model's name."""
    found = _by_wire.get(shape)
    if found is None:
        found = _by_wire[shape] = {member.name: member for member in members(shape)}
    return found


def places(shape: Any) -> Places:
    """The members of a rest input or output, sorted by location."""
    found = _places.get(shape)
    if found is None:
        found = _places[shape] = _sort(shape)
    return found


def answer_places(shape: Any) -> Places:
    """The same for a rest output, where a path or query location means nothing and the member is in the body."""
    found = _answer_places.get(shape)
    if found is None:
        found = _answer_places[shape] = _sort(shape, output=True)
    return found


def _sort(shape: Any, output: bool = False) -> Places:
    uri: dict[str, Member] = {}
    query: list[Member] = []
    query_map: Member | None = None
    header: list[Member] = []
    header_maps: list[Member] = []
    status: Member | None = None
    body: list[Member] = []
    for member in members(shape):
        location = member.shape.serialization.get("location")
        if output and location in ("uri", "querystring"):
            location = None
        if location == "uri":
            uri[member.wire] = member
        elif location == "querystring" and member.shape.type_name == "map":
            query_map = member
        elif location == "querystring":
            query.append(member)
        elif location == "header":
            header.append(member._replace(wire=member.wire.lower()))
        elif location == "headers":
            prefix = str(member.shape.serialization.get("name", ""))
            header_maps.append(member._replace(wire=prefix.lower()))
        elif location == "statusCode":
            status = member
        else:
            body.append(member)
    name = shape.serialization.get("payload")
    payload = member_table(shape)[name] if name else None
    return Places(uri, tuple(query), query_map, tuple(header), tuple(header_maps), status, payload, tuple(body))


def is_flattened(shape: Any) -> bool:
    """Whether a list or map is written without a wrapping element."""
    return bool(shape.serialization.get("flattened"))


def is_json_header(shape: Any) -> bool:
    """Whether a header carries base64 of JSON (the ``jsonvalue`` trait)."""
    return bool(shape.serialization.get("jsonvalue")) and shape.type_name == "string"


def error_shape(service_model: ServiceModel, operation_model: OperationModel | None, code: str) -> Any | None:
    """The modelled error that ``code`` names, by shape name or by wire code; the operation's own come first."""
    own = operation_model.error_shapes if operation_model is not None else []
    for shape in own:
        if code in (shape.name, shape.error_code):
            return shape
    found = service_model.shape_for_error_code(code)
    if found is not None:
        return found
    return next((shape for shape in service_model.error_shapes if shape.name == code), None)


def message_member(shape: Any | None) -> str:
    """What an error shape calls its message: ``message``, or ``Message`` where the model says so."""
    if shape is not None and "message" not in shape.members and "Message" in shape.members:
        return "Message"
    return "message"
