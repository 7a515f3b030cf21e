"""What the protocols do with a stranger's requests: leniency where it is owed, refusals where it is not."""

import datetime
import gzip
import json
import math
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import cbor2
import pytest
from botocore.model import ServiceModel
from hypothesis import given, settings
from hypothesis import strategies as st

from clary.wire import xml_body
from clary.wire.errors import SerializationError, ServiceError
from clary.wire.http import Headers, Request
from clary.wire.models import load
from clary.wire.protocol import parse_request, serialize_error, serialize_response

MOMENT = datetime.datetime(2026, 11, 24, 8, 0, tzinfo=datetime.UTC)


def service(
    protocol: str, members: dict[str, Any], shapes: dict[str, Any] | None = None, uri: str = "/", **more: Any
) -> ServiceModel:
    """A service of one operation, ``Do``, whose input and output have these members."""
    scalars = ("String", "Integer", "Long", "Double", "Boolean", "Timestamp", "Blob")
    description = {
        "metadata": {
            "protocol": protocol,
            "apiVersion": "1",
            "targetPrefix": "T",
            "jsonVersion": "1.1",
            "endpointPrefix": "own",
        },
        "operations": {
            "Do": {
                "name": "Do",
                "http": {"method": "POST", "requestUri": uri},
                "input": {"shape": "Message"},
                "output": {"shape": "Message"},
            }
        },
        "shapes": {
            "Message": {"type": "structure", "members": members, **more},
            **{name: {"type": name.lower()} for name in scalars},
            **(shapes or {}),
        },
    }
    return ServiceModel(description)


def parsed(model: ServiceModel, **request: Any) -> dict[str, Any]:
    headers = {"X-Amz-Target": "T.Do"} | request.pop("headers", {})
    operation, params = parse_request(model, {"method": "POST", "headers": headers, **request})
    assert operation.name == "Do"
    return params


def answered(model: ServiceModel, result: dict[str, Any]) -> Any:
    return serialize_response(model, model.operation_model("Do"), result)


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "POST", "uri": "/", "headers": {"X-Amz-Target": "T.Do"}, "body": '{"A": "b"}'},
        {
            "method": "POST",
            "url_path": "/",
            "query_string": {},
            "headers": {"X-Amz-Target": "T.Do"},
            "body": b'{"A": "b"}',
        },
        {"method": "POST", "url": "http://host/", "headers": [("x-amz-target", "T.Do")], "body": b'{"A": "b"}'},
        SimpleNamespace(method="POST", path="/", query="", headers={"x-amz-target": "T.Do"}, body=b'{"A": "b"}'),
        Request("POST", "/", "", Headers({"X-AMZ-TARGET": "T.Do"}), b'{"A": "b"}'),
    ],
)
def test_requests_may_have_any_common_form(request_: Any) -> None:
    _, params = parse_request(service("json", {"A": {"shape": "String"}}), request_)
    assert params == {"A": "b"}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("iso8601", "2026-11-24T08:00:00Z"),
        ("iso8601", "2026-11-24T09:00:00.000+01:00"),
        ("rfc822", "Tue, 24 Nov 2026 08:00:00 GMT"),
        ("unixTimestamp", "1795507200"),
        ("unixTimestamp", "1795507200.0"),
    ],
)
def test_timestamps_in_every_form(form: str, text: str) -> None:
    header = {"shape": "Timestamp", "location": "header", "locationName": "X-At", "timestampFormat": form}
    query = {"shape": "Timestamp", "location": "querystring", "locationName": "at", "timestampFormat": form}
    model = service(
        "rest-json", {"Head": header, "Query": query, "Body": {"shape": "Timestamp", "timestampFormat": form}}
    )
    got = parsed(
        model, path="/", query=urlencode({"at": text}), headers={"X-At": text}, body=json.dumps({"Body": text})
    )
    assert got == {"Head": MOMENT, "Query": MOMENT, "Body": MOMENT}


def test_timestamps_are_answered_in_the_form_of_their_place() -> None:
    response = answered(
        service(
            "rest-json",
            {
                "Head": {"shape": "Timestamp", "location": "header", "locationName": "X-At"},
                "Body": {"shape": "Timestamp"},
            },
        ),
        {"Head": MOMENT, "Body": MOMENT + datetime.timedelta(microseconds=500_000)},
    )
    assert response.header("x-at") == "Tue, 24 Nov 2026 08:00:00 GMT"
    assert json.loads(response.body) == {"Body": 1795507200.5}
    assert (
        b"<A>2026-11-24T08:00:00Z</A>"
        in answered(service("query", {"A": {"shape": "Timestamp"}}), {"A": MOMENT.timestamp()}).body
    )


LIST = {"Strings": {"type": "list", "member": {"shape": "String"}}}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b, c", ["a", "b", "c"]),
        ('"b,c", "\\"def\\"", a', ["b,c", '"def"', "a"]),
        ('"a\\\\b"', ["a\\b"]),
        ('"", x', ["", "x"]),
    ],
)
def test_lists_in_headers_may_be_quoted(text: str, values: list[str]) -> None:
    model = service("rest-json", {"L": {"shape": "Strings", "location": "header", "locationName": "X-L"}}, LIST)
    assert parsed(model, headers={"X-L": text}) == {"L": values}
    again = answered(model, {"L": values}).header("x-l")
    assert parsed(model, headers={"X-L": again}) == {"L": values}


def test_an_empty_header_is_an_empty_list() -> None:
    model = service("rest-json", {"L": {"shape": "Strings", "location": "header", "locationName": "X-L"}}, LIST)
    assert parsed(model, headers={"X-L": ""}) == {"L": []}
    assert parsed(model, headers={}) == {}


def test_an_unclosed_quote_is_refused() -> None:
    model = service("rest-json", {"L": {"shape": "Strings", "location": "header", "locationName": "X-L"}}, LIST)
    with pytest.raises(SerializationError):
        parsed(model, headers={"X-L": '"a, b'})


def test_lists_of_dates_in_headers() -> None:
    shapes = {"Times": {"type": "list", "member": {"shape": "Timestamp"}}}
    model = service("rest-json", {"L": {"shape": "Times", "location": "header", "locationName": "X-L"}}, shapes)
    text = answered(model, {"L": [MOMENT, MOMENT]}).header("x-l")
    assert parsed(model, headers={"X-L": text}) == {"L": [MOMENT, MOMENT]}


def test_json_in_headers_and_prefix_headers() -> None:
    members = {
        "J": {"shape": "String", "location": "header", "locationName": "X-J", "jsonvalue": True},
        "M": {"shape": "Map", "location": "headers", "locationName": "x-meta-"},
    }
    shapes = {"Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "String"}}}
    model = service("rest-json", members, shapes)
    result = {"J": {"a": [1, None]}, "M": {"one": "1", "two": "2"}}
    assert parsed(model, headers=dict(answered(model, result).headers)) == result


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b"])
def test_a_header_value_never_makes_a_second_header(value: str) -> None:
    model = service("rest-json", {"H": {"shape": "String", "location": "header", "locationName": "X-H"}})
    with pytest.raises(SerializationError):
        answered(model, {"H": value})


@pytest.mark.parametrize("protocol", ["json", "rest-json", "smithy-rpc-v2-cbor", "query", "rest-xml"])
@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_special_floats_travel(protocol: str, number: float) -> None:
    model = service(protocol, {"D": {"shape": "Double"}}, locationName="Message")
    name = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(number, "NaN")
    path = "/service/T/operation/Do" if "cbor" in protocol else "/"
    body: Any = {
        "query": f"Action=Do&D={name}",
        "rest-xml": f"<Message><D>{name}</D></Message>",
        "smithy-rpc-v2-cbor": cbor2.dumps({"D": number}),
    }.get(protocol, json.dumps({"D": name}))
    got = parsed(model, path=path, body=body)["D"]
    assert got == number or (math.isnan(got) and math.isnan(number))
    content = answered(model, {"D": number}).body
    assert name.encode() in content or cbor2.loads(content)["D"] == number or math.isnan(cbor2.loads(content)["D"])


def test_documents_pass_untouched() -> None:
    shapes = {"Doc": {"type": "structure", "members": {}, "document": True}}
    model = service("rest-json", {"D": {"shape": "Doc"}}, shapes)
    document = {"a": [1, 2.5, None, {"b": "c"}], "n": None}
    assert parsed(model, body=json.dumps({"D": document})) == {"D": document}
    assert json.loads(answered(model, {"D": document}).body) == {"D": document}


def test_greedy_labels_literal_queries_and_unknown_members() -> None:
    label = {"shape": "String", "location": "uri"}
    model = service("rest-json", {"A": label, "B": label, "C": {"shape": "String"}}, uri="/x/{A}/{B+}?fixed=1")
    assert parsed(model, uri="/x/a%20b/c/d%2Fe/?fixed=1&other=2", body='{"C": "c", "Z": 1}') == {
        "A": "a b",
        "B": "c/d/e/",
        "C": "c",
    }


FLAT = {
    "Strings": {"type": "list", "member": {"shape": "String"}},
    "Flat": {"type": "list", "member": {"shape": "String"}, "flattened": True},
    "Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "Integer"}},
    "FlatMap": {
        "type": "map",
        "key": {"shape": "String", "locationName": "K"},
        "value": {"shape": "Integer", "locationName": "V"},
        "flattened": True,
    },
}
FLAT_MEMBERS = {"S": {"shape": "Strings"}, "F": {"shape": "Flat"}, "M": {"shape": "Map"}, "N": {"shape": "FlatMap"}}
FLAT_VALUE = {"S": ["a", "b"], "F": ["c", "d"], "M": {"x": 1}, "N": {"y": 2, "z": 3}}


def test_flattened_lists_and_maps_in_forms() -> None:
    body = (
        "Action=Do&S.member.1=a&S.member.2=b&F.1=c&F.2=d&M.entry.1.key=x&M.entry.1.value=1"
        "&N.1.K=y&N.1.V=2&N.2.K=z&N.2.V=3"
    )
    assert parsed(service("query", FLAT_MEMBERS, FLAT), body=body) == FLAT_VALUE


def test_lists_in_forms_are_in_the_order_of_their_numbers() -> None:
    body = "Action=Do&" + "&".join(f"S.member.{n}={n}" for n in (10, 2, 1))
    assert parsed(service("query", FLAT_MEMBERS, FLAT), body=body) == {"S": ["1", "2", "10"]}


def test_flattened_lists_and_maps_in_xml() -> None:
    body = (
        '<Message xmlns="urn:x"><S><member>a</member><member>b</member></S><F>c</F><F>d</F>'
        "<M><entry><key>x</key><value>1</value></entry></M><N><K>y</K><V>2</V></N><N><K>z</K><V>3</V></N></Message>"
    )
    model = service("rest-xml", FLAT_MEMBERS, FLAT, locationName="Message")
    assert parsed(model, body=body) == FLAT_VALUE
    assert parsed(model, body=answered(model, FLAT_VALUE).body) == FLAT_VALUE


@pytest.mark.parametrize("odd", ["\0", "\x07", "\ufffe", "\ud800"])
def test_what_xml_cannot_carry_is_replaced(odd: str) -> None:
    text = xml_body.escape(f"a{odd}<")
    assert text == "a\ufffd&lt;"
    assert ElementTree.fromstring(f'<a b="{xml_body.escape_attribute(odd)}">{text}</a>').text == "a\ufffd<"


def test_attributes_namespaces_and_escapes_in_xml() -> None:
    shapes = {
        "Grantee": {
            "type": "structure",
            "members": {
                "Type": {"shape": "String", "xmlAttribute": True, "locationName": "xsi:type"},
                "Id": {"shape": "String"},
            },
            "xmlNamespace": {"prefix": "xsi", "uri": "http://www.w3.org/2001/XMLSchema-instance"},
        }
    }
    model = service(
        "rest-xml", {"G": {"shape": "Grantee"}}, shapes, locationName="Message", xmlNamespace={"uri": "urn:y"}
    )
    value = {"G": {"Type": 'a"<b>&', "Id": "<&>\r\n\"'"}}
    body = answered(model, value).body
    assert b'xmlns="urn:y"' in body
    assert parsed(model, body=body) == value


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><Message><A>&b;</A></Message>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Message/>',
        b"<Message><A>",
        b"<Message>&nbsp;</Message>",
        b"not xml",
        b"<Message><A>\xff</A></Message>",
    ],
)
def test_hostile_xml_is_refused(body: bytes) -> None:
    model = service("rest-xml", {"A": {"shape": "String"}}, locationName="Message")
    with pytest.raises(SerializationError) as caught:
        parsed(model, body=body)
    assert caught.value.code == "MalformedXML"


def test_compressed_bodies_of_operations_that_allow_them() -> None:
    model = load("cloudwatch")
    data = [{"MetricName": "m", "Value": 1.0}]
    body = gzip.compress(json.dumps({"Namespace": "n", "MetricData": data}).encode())
    headers = {"X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData", "Content-Encoding": "gzip"}
    _, params = parse_request(model, {"method": "POST", "path": "/", "headers": headers, "body": body})
    assert params == {"Namespace": "n", "MetricData": data}
    form = b"Action=PutMetricData&Version=2010-08-01&Namespace=n&MetricData.member.1.MetricName=m&MetricData.member.1.Value=1"
    headers_of_form = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    asked = {"method": "POST", "path": "/", "headers": headers_of_form, "body": gzip.compress(form)}
    assert parse_request(model, asked)[1] == params, "the name of the operation is compressed too"
    for bad in (body[:-4], body + b"x", gzip.compress(b" " * (64 << 20))):
        with pytest.raises(SerializationError):
            parse_request(model, {"method": "POST", "path": "/", "headers": headers, "body": bad})


def test_an_answer_is_in_the_protocol_of_its_question() -> None:
    model = load("cloudwatch")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers, path, body, kind in (
        ({"X-Amz-Target": "GraniteServiceVersion20100801.ListMetrics"}, "/", b"{}", "application/x-amz-json-1.0"),
        (form, "/", b"Action=ListMetrics", "text/xml"),
        (
            {"smithy-protocol": "rpc-v2-cbor"},
            "/service/GraniteServiceVersion20100801/operation/ListMetrics",
            b"",
            "application/cbor",
        ),
    ):
        operation, params = parse_request(model, {"method": "POST", "path": path, "headers": headers, "body": body})
        assert (operation.name, params) == ("ListMetrics", {})
        assert serialize_response(model, operation, {"Metrics": []}).header("content-type") == kind
        assert serialize_error(model, operation, "InvalidNextToken", "m", {}, 400).header("content-type") == kind


def test_query_compatible_errors_name_both_codes() -> None:
    model = load("cloudwatch")
    headers = {"X-Amz-Target": "GraniteServiceVersion20100801.ListMetrics", "x-amzn-query-mode": "true"}
    operation, _ = parse_request(model, {"method": "POST", "path": "/", "headers": headers, "body": b"{}"})
    response = serialize_error(model, operation, "InvalidParameterValueException", "no", {}, 400)
    assert json.loads(response.body)["__type"] == "InvalidParameterValueException"
    assert response.header("x-amzn-query-error") == "InvalidParameterValue;Sender"


def test_s3_errors_carry_what_the_caller_adds() -> None:
    model = load("s3")
    response = serialize_error(model, None, "NoSuchKey", "gone", {"Resource": "/b/<k>"}, 404, "id")
    assert (
        b"<Code>NoSuchKey</Code><Message>gone</Message><Resource>/b/&lt;k&gt;</Resource><RequestId>id</RequestId>"
        in response.body
    )
    assert response.header("x-amz-request-id") == "id"


HEADER_NAMES = [
    "content-type",
    "x-amz-target",
    "smithy-protocol",
    "x-amz-date",
    "range",
    "content-length",
    "x-amz-object-attributes",
    "if-modified-since",
]
ASCII = st.text(st.characters(codec="ascii"), max_size=60)
HEADER_VALUES = st.text(st.characters(codec="latin-1"), max_size=40) | st.sampled_from(
    ["SageMaker.CreateModel", "rpc-v2-cbor"]
)
JSON_TEXTS = st.recursive(
    st.none() | st.floats() | st.text(),
    lambda inner: st.dictionaries(st.sampled_from(["ModelName", "Tags"]), inner) | st.lists(inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=300)
@given(
    st.sampled_from(["s3", "sagemaker", "sagemaker-runtime", "iam", "cloudwatch", "scheduler"]),
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    ASCII,
    ASCII,
    st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER_VALUES, max_size=4),
    st.binary(max_size=80) | JSON_TEXTS,
)
def test_noise_only_raises_typed_errors(
    name: str, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    try:
        parse_request(load(name), Request(method, "/" + path, query, Headers(headers), body))
    except ServiceError:
        pass


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_noise_in_cbor_only_raises_typed_errors(body: bytes) -> None:
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    try:
        parse_request(
            load("cloudwatch"),
            {"method": "POST", "path": path, "headers": {"smithy-protocol": "rpc-v2-cbor"}, "body": body},
        )
    except SerializationError:
        pass
