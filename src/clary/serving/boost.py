"""How many workers of a replica may be busy now (level 0 of scaling; equations in the scaling reference, section 2.4), how much may be
sent to a busy one, and how long requests are kept together.

Owns pure functions that the front calls as they are and a simulator can compile: plain numbers in, a number out. Does not know
clocks, queues and replicas. Times are those of the wall, since what is decided is how long a request would wait: on a machine that others
use too, a quick model is slow, and less is sent ahead to it.
"""

from __future__ import annotations

from clary.domain.scaling.boost import allowed as allowed  # the rule itself: the simulator compiles the same one

QUICK = 0.004  # seconds of a prediction that is quick enough for others to be sent ahead behind it
AHEAD_SECONDS = 0.012  # what a request sent ahead may expect to wait behind others, while another worker might get free
HANGING = (
    0.02  # seconds without an answer of a worker that has quick predictions to do: nothing more is sent ahead to it
)
AHEAD_MOST = 32  # requests at one worker
RISE, FALL = 0.1, 0.02
HOLD = 0.001  # seconds that requests are kept for a larger batch
REST = 0.006  # most seconds that answers are kept, to be read together
STOCK = 0.003  # least seconds of work that a worker has at hand when its answers are kept, for half that time
GATHERED_LEAST, GATHERED_MOST = 8, 64  # requests of a batch that is waited for


def sends_ahead(held: int, service: float) -> bool:
    """Whether a worker that answers one by one, and holds `held` requests, gets one more before it answers.

    Each turn through the front costs as much as half a quick prediction, so a worker that always has the next request at hand, and a
    front that takes several answers in one turn, serve more. But what was sent cannot be called back: a request behind one that turns
    out slow waits for it. So only quick ones do, and only as many as are expected to be done within `AHEAD_SECONDS`."""
    return 0 < held < AHEAD_MOST and service < QUICK and held * service < AHEAD_SECONDS


def smoothed(service: float, took: float) -> float:
    """Seconds that a prediction is expected to take, after one that took `took`. It rises sooner than it falls: a model that is slow
    now and then is not sent much ahead for hundreds of requests after."""
    if service == float("inf"):
        return took
    return service + (RISE if took > service else FALL) * (took - service)


def paced(pace: float, each: float) -> float:
    """Seconds a request of a batch is expected to take when nothing else holds the machine up: after one that took `each`. It falls
    sooner than it rises, since what is decided by it (`together`) costs at most `HOLD`."""
    if pace == float("inf"):
        return each
    return pace + (FALL if each > pace else RISE) * (each - pace)


def together(waiting: int, pace: float) -> bool:
    """Whether what waits is left to the workers that are busy already, though others are idle: a call of a model costs as much as
    dozens of rows, so two small batches cost much more than one. Only where they will be through with it within `HOLD`."""
    return waiting * pace < HOLD


def gathered(rate: float) -> int:
    """How many requests a batch waits for (at most `HOLD`) at this many arrivals a second; 0: for none. At such rates front, edge and
    clients want the processor as much as the model does, and what small batches cost is taken from them."""
    expected = int(rate * HOLD)
    return min(expected, GATHERED_MOST) if expected >= GATHERED_LEAST else 0


def rest(held: int, service: float) -> float:
    """Seconds until the answers of a worker that predicts one by one are read again; 0: at once. There will be several by then, and it
    has enough to do until then: a turn of the front and the edge for each costs the machine as much as the prediction does."""
    stock = held * service
    pause = min(stock / 2, REST)
    return pause if stock >= STOCK and pause >= 2 * service else 0.0
