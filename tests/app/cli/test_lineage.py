"""What `clary lineage` makes of the API's answers."""

from __future__ import annotations

from typing import Any

from clary.app.cli import lineage


def found() -> dict[str, Any]:
    """data, image -> job -> model; the data also leads to the model by itself."""
    names = {"data": "DataSet", "image": "Image", "job": "TrainingJob", "model": "Model"}
    entities = {
        arn: {"type": type_, "name": f"<{arn}>", "source": "", "objects": {"a.csv": "e1"} if arn == "data" else {}}
        for arn, type_ in names.items()
    }
    edges = [("job", "model"), ("data", "job"), ("image", "job"), ("data", "model")]
    return {"entities": entities, "edges": [{"source": a, "destination": b, "type": ""} for a, b in edges]}


def test_the_tree_begins_at_the_resource_and_tells_each_entity_once() -> None:
    assert lineage.tree(found(), down=False) == [
        "Model  <model>",
        "  TrainingJob  <job>",
        "    DataSet  <data>",
        "      - a.csv  e1",
        "    Image  <image>",
        "  DataSet  <data> (see above)",
    ]
    assert lineage.tree(found(), down=True)[0] == "DataSet  <data>"


def test_a_picture_has_its_boxes_apart_and_names_as_text() -> None:
    for down in (False, True):
        graph = lineage.graph("shop", found(), down)
        assert [each for each in graph.overlaps() if "box" in each and "word" not in each] == []
        assert len(graph.arrows) == 4
    svg = lineage.picture("<shop>", found(), False)
    assert "&lt;data&gt;" in svg
    assert "<data>" not in svg


def test_arrows_point_one_way() -> None:
    level = lineage.levels(found(), down=True)
    assert all(level[edge["source"]] < level[edge["destination"]] for edge in found()["edges"])
