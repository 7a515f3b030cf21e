"""Records of use: pieces of time are counted once, by the day."""

from __future__ import annotations

from tests.domain.jobs.test_life import NOW, training

from clary.domain.costs import kept
from clary.domain.costs.jobs import of_job
from clary.domain.costs.kept import DAY, Piece, counted
from clary.domain.machine.instances import GIB
from clary.testing.grants import grant

MIDNIGHT = 20_000 * DAY


def test_a_piece_that_is_told_twice_counts_once() -> None:
    record = kept.of_replicas(grant("r", since=MIDNIGHT))
    first = counted(record, [Piece(MIDNIGHT, MIDNIGHT + 30, 1.5, GIB, 1)], MIDNIGHT + 20, {"team": "shop"})
    again = counted(first, [Piece(MIDNIGHT, MIDNIGHT + 30, 1.5, GIB, 1)], MIDNIGHT + 20, None)
    assert again.document == first.document
    then = counted(first, [Piece(MIDNIGHT, MIDNIGHT + 40, 1.5, GIB, 1)], MIDNIGHT + 40, None)
    [row] = kept.rows(then)
    assert (row.use.seconds, row.use.vcpu_seconds, row.use.gb_seconds, row.use.gpu_seconds) == (40, 60, 40, 40)
    assert (row.kind, row.name, row.tags) == ("endpoint", "shop", {"team": "shop"})


def test_a_piece_over_midnight_belongs_to_both_days() -> None:
    record = kept.of_replicas(grant("r"))
    found = counted(record, [Piece(MIDNIGHT - 10, MIDNIGHT + 20, 1, GIB, 0)], MIDNIGHT + 20, {})
    assert [(row.at, row.use.seconds) for row in kept.rows(found)] == [(MIDNIGHT - DAY, 10), (MIDNIGHT, 20)]


def test_two_machines_of_one_endpoint_have_a_record_each() -> None:
    assert kept.of_replicas(grant("r")).name != kept.of_replicas(grant("r", machine="other")).name


def test_a_record_keeps_its_last_days_only() -> None:
    record, end = kept.of_replicas(grant("r")), MIDNIGHT + (kept.KEPT_DAYS + 5) * DAY
    found = counted(record, [Piece(MIDNIGHT, end, 1, GIB, 0)], end, {})
    rows = kept.rows(found)
    assert len(rows) == kept.KEPT_DAYS
    assert rows[-1].at == end - DAY


def test_a_deleted_job_is_told_as_it_was() -> None:
    row = of_job(training("Completed", ended=NOW), NOW)
    assert row is not None
    assert list(kept.rows(kept.of_deleted("id", row))) == [row]
