"""Search, erasure and its proof, over objects of S3 with their versions, and over feature groups.

Erasing goes object by object: read, write the kept rows into a file, replace in one PUT. A second erasure beside it, or one that goes on
where a killed one stopped, finds rows that are gone already and has less to do. An old version cannot be written anew in its place: one
that has such rows is deleted. At the end everything is listed and searched once more.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence

from clary.toolkit.failure import UserError, log
from clary.toolkit.privacy import personal, tables
from clary.toolkit.privacy.places import LARGEST, ObjectChanged, ObjectVersion, VersionedObjects
from clary.toolkit.privacy.tables import RowsFound, UnreadableTable
from clary.toolkit.privacy.where import PersonCondition

TRIES = 20  # at one object that others write too
LINGER = 4.0  # seconds: a record that was put is in the history by then (docs/features.md)
SAMPLE = 2000  # rows of an object that a scan looks at
LISTED = 10_000  # objects that a report names


@dataclass
class PrivacyReport:
    """What was found or done: objects with such rows, and what could not be searched. Counts are of objects, or of their versions."""

    objects: int = 0
    rows: int = 0
    matched: int = 0
    without_column: int = 0
    found: List[Dict[str, Any]] = field(default_factory=list)
    unsearched: List[Dict[str, str]] = field(default_factory=list)
    online: List[Dict[str, Any]] = field(default_factory=list)

    def counted(self, held: ObjectVersion, found: RowsFound, **more: Any) -> None:
        self.objects += 1
        self.rows += found.rows
        self.matched += found.matched
        self.without_column += not found.there
        if found.matched and len(self.found) < LISTED:
            self.found.append(
                {"object": str(held), "version": held.version, "latest": held.latest, "rows": found.matched, **more}
            )

    def document(self) -> Dict[str, Any]:
        return asdict(self)

    @property
    def clean(self) -> bool:
        return not (self.matched or self.unsearched or any(each["stored"] for each in self.online))


class PrivacyWork:
    """One search or erasure. `service`: boto3's client of a service."""

    def __init__(
        self, where: PersonCondition, places: VersionedObjects, service: Callable[[str], Any], scratch: str
    ) -> None:
        self._where = where
        self._places = places
        self._service = service
        self._scratch = scratch

    def find(self, data: Sequence[str], groups: Sequence[str]) -> PrivacyReport:
        told = PrivacyReport()
        for name in groups:
            self._online(name, told, erase=False)
        for uri in [*data, *self._histories(groups, told)]:
            for held in self._places.versions(uri):
                self._search(held, told)
        return told

    def erase(self, data: Sequence[str], groups: Sequence[str]) -> PrivacyReport:
        told = PrivacyReport()
        for name in groups:
            self._online(name, told, erase=True)
        if groups:
            time.sleep(LINGER)
        for uri in [*data, *self._histories(groups, told)]:
            for held in list(self._places.versions(uri)):
                self._erase(held, told)
        return told

    # -- objects --------------------------------------------------------------------------------------------------------------

    def _search(self, held: ObjectVersion, told: PrivacyReport) -> None:
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path = os.path.join(folder, "held")
            try:
                self._places.fetch(held, path)
                told.counted(held, tables.search(path, self._where))
            except ObjectChanged:
                return  # it went meanwhile; what came in its place is listed by the next search
            except UnreadableTable as error:
                told.unsearched.append({"object": str(held), "version": held.version, "why": str(error)})

    def _erase(self, held: ObjectVersion, told: PrivacyReport) -> None:
        """Until it is done: others may write the same object."""
        for _ in range(TRIES):
            try:
                self._once(held, told)
                return
            except ObjectChanged:
                now = self._again(held)
                if now is None:
                    return
                held = now
        told.unsearched.append(
            {"object": str(held), "version": held.version, "why": "others kept writing it: erase once more"}
        )

    def _again(self, held: ObjectVersion) -> Optional[ObjectVersion]:
        """The object's newest version, where it was that and is there."""
        if not held.latest:
            return None
        newest = (each for each in self._places.versions(str(held)) if each.key == held.key and each.latest)
        return next(newest, None)

    def _once(self, held: ObjectVersion, told: PrivacyReport) -> None:
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path, target = os.path.join(folder, "held"), os.path.join(folder, "kept")
            self._places.fetch(held, path)
            try:
                found = tables.search(path, self._where)
                if found.matched and held.latest:
                    if held.size > LARGEST:
                        raise UnreadableTable("it is larger than one PUT may be, 5 GiB: it is not replaced")
                    tables.rewrite(path, self._where, target)
            except UnreadableTable as error:
                told.unsearched.append({"object": str(held), "version": held.version, "why": str(error)})
                return
            if not found.matched:
                told.counted(held, found)
            elif held.latest:
                fresh = self._places.replace(held, target)
                told.counted(held, found, became=fresh)
                log("{}: {} rows are gone".format(held, found.matched))
            else:
                self._places.delete(held)
                told.counted(held, found, became="")
                log("{}: an old version with {} such rows is deleted".format(held, found.matched))

    # -- feature groups -------------------------------------------------------------------------------------------------------

    def _described(self, name: str) -> Dict[str, Any]:
        from botocore.exceptions import ClientError

        try:
            return dict(self._service("sagemaker").describe_feature_group(FeatureGroupName=name))
        except ClientError as error:
            raise UserError("The feature group {}: {}".format(name, error.response["Error"]["Message"])) from error

    def _histories(self, groups: Sequence[str], told: PrivacyReport) -> List[str]:
        """Where the groups' histories are; one that waits for its bucket is not searched."""
        found = []
        for name in groups:
            described = self._described(name)
            offline = described.get("OfflineStoreConfig")
            if offline is None:
                continue
            found.append(offline["S3StorageConfig"]["ResolvedOutputS3Uri"].rstrip("/") + "/")
            status = (described.get("OfflineStoreStatus") or {}).get("Status")
            if status == "Blocked":
                why = "records wait to be written to its offline store, which is Blocked"
                told.unsearched.append({"object": "feature group " + name, "version": "", "why": why})
        return found

    def _online(self, name: str, told: PrivacyReport, erase: bool) -> None:
        """Records of the online store, which are asked for by their identifiers: the column's value, or those that the history has."""
        described = self._described(name)
        if not (described.get("OnlineStoreConfig") or {}).get("EnableOnlineStore"):
            return
        identifier, event = described["RecordIdentifierFeatureName"], described["EventTimeFeatureName"]
        if identifier == self._where.column:
            asked = [self._where.value.strip()]
        elif described.get("OfflineStoreConfig"):
            time.sleep(LINGER)
            asked = self._identifiers(
                described["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"], identifier
            )
        else:
            why = "it has no offline store, and its online store is searched by {} only".format(identifier)
            told.unsearched.append({"object": "feature group " + name, "version": "", "why": why})
            return
        runtime = self._service("sagemaker-featurestore-runtime")
        for each in asked:
            answer = runtime.get_record(FeatureGroupName=name, RecordIdentifierValueAsString=each)
            row = {entry["FeatureName"]: entry.get("ValueAsString") for entry in answer.get("Record") or ()}
            if not row or not self._where.holds(row):
                continue
            if erase:
                runtime.delete_record(
                    FeatureGroupName=name,
                    RecordIdentifierValueAsString=each,
                    EventTime=row[event],
                    TargetStores=["OnlineStore"],
                    DeletionMode="HardDelete",
                )
            told.online.append({"group": name, "stored": not erase})

    def _identifiers(self, uri: str, identifier: str) -> List[str]:
        """Of the rows of a history that are meant."""
        import pyarrow.parquet

        found: Dict[str, None] = {}
        for held in self._places.versions(uri.rstrip("/") + "/"):
            with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                path = os.path.join(folder, "held")
                try:
                    self._places.fetch(held, path)
                    if tables.form_of(path) != tables.PARQUET:
                        continue
                except (ObjectChanged, UnreadableTable):
                    continue  # the search of the history tells of it
                with pyarrow.parquet.ParquetFile(path) as file:
                    if {identifier, self._where.column} <= set(file.schema_arrow.names):
                        for batch in file.iter_batches(columns=[identifier, self._where.column]):
                            found.update({str(r[identifier]): None for r in batch.to_pylist() if self._where.holds(r)})
        return list(found)


def scan(places: VersionedObjects, data: Sequence[str], names: Sequence[str], scratch: str) -> Dict[str, Any]:
    """The columns that look like personal data, by data set."""
    sets, unsearched = [], []
    for uri in data:
        best: Dict[Any, personal.PersonalColumn] = {}
        objects = 0
        for held in places.versions(uri):
            if not held.latest:
                continue
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                path = os.path.join(folder, "held")
                try:
                    places.fetch(held, path)
                    rows = tables.sample(path, SAMPLE, names) if tables.form_of(path) else []
                except ObjectChanged:
                    continue
                except (UnreadableTable, ValueError, OSError) as error:
                    why = str(error) if isinstance(error, UnreadableTable) else "it cannot be read"
                    unsearched.append({"object": str(held), "version": held.version, "why": why})
                    continue
            objects += 1
            for each in personal.pointed(rows):
                key = (each.column, each.kind)
                if key not in best or each.share > best[key].share:
                    best[key] = each
        columns = [each._asdict() for each in sorted(best.values(), key=lambda one: (-one.share, one.column))]
        sets.append({"data": uri, "objects": objects, "columns": columns})
    return {"sets": sets, "unsearched": unsearched}
