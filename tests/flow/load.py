"""Clients that ask for one stream after another, and an account of what became of every request.

    load = Load(address)
    upstream = Upstream(load.answer)
    with load:                      # they run
        load.wait_begun(100)        # so many streams more have begun
        load.ending.set()           # before SIGTERM: now a client may be turned away, and leaves
    load.find_wrong()               # lost, doubled or refused: none of that

Every other client keeps its connection from request to request. A request has a name, which the upstream counts."""

import collections
import statistics
import threading
import time

from client import Client, NoAnswer
from harness import BOUND, COMPLETIONS, STREAM
from streams import DONE, FINISH, ONE
from upstream import sse

NAME = "X-Load-Name"
WHOLE = ONE * 4 + FINISH + DONE


def rest(seconds):
    return lambda connection: time.sleep(seconds)


class Record:
    """One request. `outcome`: "whole", "turned away" (not a byte came), or what went wrong."""

    def __init__(self, name):
        self.name = name
        self.began = time.monotonic()
        self.wait = None                # seconds to the first byte
        self.outcome = "nothing"


class Load:
    def __init__(self, address, clients=64, keep=2, pause=0.04):
        """`keep`: every so manieth client keeps its connection; 0: none. A stream takes 5 to 25 pauses."""
        self.address, self.keep, self.pause = address, keep, pause
        self.records = []
        self.seen = collections.Counter()
        self.ending = threading.Event()
        self._begun = 0
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]

    def answer(self, request):
        """The upstream's: a stream."""
        name = request.header(NAME)
        with self._news:
            self.seen[name] += 1
        pause = rest(self.pause * (1 + sum(map(int, name.split("-"))) % 5))
        return sse(*[ONE, pause] * 4, FINISH, pause, DONE)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem):
        self.ending.set()               # after a failure the daemon ends, and they with it
        if problem[0]:
            return
        for thread in self._threads:
            thread.join(2 * BOUND)
            if thread.is_alive():
                raise AssertionError("a client does not end")

    def wait_begun(self, count):
        with self._news:
            aim = self._begun + count
            if not self._news.wait_for(lambda: self._begun >= aim, BOUND):
                raise AssertionError(f"the clients stand still; wrong: {self.find_wrong()[:5]}")

    def count(self, outcome):
        return sum(record.outcome == outcome for record in self.records)

    def find_wrong(self):
        """What was lost, doubled, refused or served without being answered."""
        wrong = [(record.name, record.outcome) for record in self.records
                 if record.outcome not in ("whole", "turned away", "nothing")]
        wrong += [(record.name, record.outcome, f"seen {self.seen[record.name]} times") for record in self.records
                  if self.seen[record.name] != (record.outcome == "whole") and record.outcome != "nothing"]
        return wrong

    def waits(self, since, until):
        """The seconds to the first byte of the requests that fell into this time, sorted."""
        return sorted(record.wait for record in self.records
                      if record.wait is not None and record.began <= until and record.began + record.wait >= since)

    def summary(self, **spans):
        """A table: one line for each span (since, until)."""
        lines = [f"{len(self.records)} requests, {self.count('whole')} whole streams, "
                 f"{self.count('turned away')} turned away at the end",
                 f"{'first byte':<12}{'requests':>10}{'median':>10}{'longest':>10}"]
        for name, span in spans.items():
            waits = self.waits(*span)
            lines.append(f"{name:<12}{len(waits):>10}{statistics.median(waits) * 1000:>7.0f} ms{waits[-1] * 1000:>7.0f} ms")
        return "\n".join(lines)

    # one client

    def _run(self, number):
        client, rounds, keeps = None, 0, self.keep and number % self.keep == 0
        while True:
            rounds += 1
            record = Record(f"{number}-{rounds}")
            self.records.append(record)
            stays = False
            try:
                client = client or Client(self.address, bound=BOUND)
                stays = self._ask(client, record) and keeps
            except Exception as problem:    # every kind tells something
                nothing_came = isinstance(problem, ConnectionError) or (
                    isinstance(problem, NoAnswer) and not problem.received)
                record.outcome = ("turned away" if nothing_came and self.ending.is_set() else
                                  f"{problem!r} after {time.monotonic() - record.began:.3f} s")
            if client and not stays:
                client.fin()
                client = None
            if record.outcome != "whole":
                return

    def _ask(self, client, record):
        """One stream; does the connection stay?"""
        client.send_request("POST", COMPLETIONS, [(NAME, record.name)], STREAM)
        answer = client.read_head()
        record.wait = time.monotonic() - record.began
        with self._news:
            self._begun += 1
            self._news.notify_all()
        whole = (answer.status, answer.body, answer.end) == (200, WHOLE, "complete")
        record.outcome = "whole" if whole else repr(answer)
        return whole and (answer.header("Connection") or "").lower() != "close"
