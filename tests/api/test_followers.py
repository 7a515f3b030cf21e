from __future__ import annotations

import pytest

from clary.api.followers import Follower, Followers

ME, OTHER, JOB = "arn:aws:iam::0:user/me", "arn:aws:iam::0:user/other", "arn:job"


def test_who_looks_and_reads() -> None:
    followers = Followers()
    assert followers.looks(ME, JOB, 1.0) == Follower(1.0, 1.0, 1)
    followers.reads(ME, JOB, 2.0)
    assert followers.looks(ME, JOB, 3.0) == Follower(1.0, 3.0, 2, 2.0)


def test_what_others_read_and_other_jobs_logs_do_not_count() -> None:
    followers = Followers()
    followers.looks(ME, JOB, 0.0)
    followers.reads(OTHER, JOB, 1.0)
    followers.reads(ME, "arn:other", 1.0)
    assert followers.looks(ME, JOB, 2.0).read is None
    assert followers.looks(OTHER, JOB, 2.0) == Follower(2.0, 2.0, 1), "who only read follows nothing"


def test_reading_on_is_following_but_silence_is_not() -> None:
    followers = Followers()
    followers.looks(ME, JOB, 0.0)
    for at in range(50, 1000, 50):
        followers.reads(ME, JOB, float(at))
    assert followers.looks(ME, JOB, 1000.0) == Follower(0.0, 1000.0, 2, 950.0)
    followers.reads(ME, JOB, 1060.0)
    assert followers.looks(ME, JOB, 1061.0) == Follower(1061.0, 1061.0, 1)


@pytest.mark.parametrize(
    ("follower", "wanted"),
    [
        (Follower(105.0, 125.0, 1), False),
        (Follower(105.0, 125.0, 2), False),
        (Follower(105.0, 125.0, 3), True),
        (Follower(10.0, 125.0, 9, 100.0), False),
        (Follower(10.0, 125.0, 9, 60.0), True),
    ],
)
def test_who_reads_no_log(follower: Follower, wanted: bool) -> None:
    assert follower.reads_no_log(125.0) is wanted


def test_those_who_were_silent_longest_are_forgotten_first() -> None:
    followers = Followers()
    for number in range(1500):
        followers.looks(ME, f"arn:{number}", number / 1000)
        followers.reads(ME, "arn:0", number / 1000)
    assert followers.looks(ME, "arn:0", 2.0).first == 0.0
    assert followers.looks(ME, "arn:1499", 2.0).first == 1.499
    assert followers.looks(ME, "arn:1", 2.0).first == 2.0
