#!/usr/bin/python3
"""The pacer once more, straight from its formulas, against the trace of the real one.

    oracle.py PACER_TRACE [COUNT]

A rate r in requests per second; tokens refill at r (at r/2 in the second after an outage), at most max(1, r).

    429 without a pace      r = max(0.5, 0.7 m); from then on m is measured anew; no tokens
    success                 r += 0.5 until a 429 comes at which m is known; then with W = min(m, r) at the last such 429, t seconds ago:
                            r = clamp(0.4 (t - K)^3 + W, 0.2, 2 m), K = cbrt(0.3 W / 0.4)
    429 sent after the last r = max(0.2, 0.7 min(m, r)); tokens <= 0
    m                       answers per second over at least 0.5 s, half the new value and half the old one; where nobody waits and there is a
                            pace, it only rises
    no pace any more        60 s after the last request that the pace held back, or the last 429; not while the upstream asks for a pause
"""

import math
import subprocess
import sys

TOLERANCE = 1e-9


class Pacer:
    """Times are in milliseconds, as in the trace; everything else in seconds."""

    def __init__(self):
        self.rate = 0.0  # 0: no pace
        self.summit = None  # W; None: slow start
        self.cut = None
        self.tokens = 0.0
        self.at = 0  # the tokens are of this instant
        self.closed = 0
        self.slow_until = 0
        self.pressed = 0
        self.measured = 0.0
        self.answers = []  # of the bucket; the first is its beginning
        self.counted = 0
        self.peaks = []  # (at, measured)

    def refill(self, now):
        """A millisecond counts half until slow_until."""
        slow = max(0, min(self.slow_until, now) - self.at)
        full = now - self.at - slow
        gained = self.rate * (full + slow * 0.5) / 1000
        self.tokens = min(max(1.0, self.rate), self.tokens + gained)
        self.at = now

    def delay(self, missing, rate, now):
        """Until so many tokens have come in."""
        full = missing / rate * 1000
        slow = max(0, self.slow_until - now)
        if full <= slow / 2:
            return full * 2
        return slow + (full - slow / 2)

    def measure(self, now, pressed):
        if not self.answers:
            self.answers = [now]
        self.counted += 1
        span = now - self.answers[0]
        if span < 500:
            return
        rate = self.counted / (span / 1000)
        smooth = rate if self.measured == 0 else (rate + self.measured) / 2
        if pressed or not self.rate or smooth > self.measured:
            self.measured = smooth
        if not self.peaks or self.measured >= self.peaks[-1][1] or now - self.peaks[-1][0] > 60000:
            self.peaks.append((now, self.measured))
        self.answers = [now]
        self.counted = 0

    # The events; each returns what the call does, or None where that is not compared.

    def ready(self, now, _):
        if self.rate and now - self.pressed > 60000 and now > self.closed:
            self.rate = 0.0
        delay = 0.0
        if self.rate:
            self.refill(now)
            if self.tokens < 1:
                delay = self.delay(1 - self.tokens, self.rate, now)
        exact = max(now + delay, self.closed)
        if exact > now:
            self.pressed = now
        return exact

    def send(self, now, _):
        if self.rate:
            self.refill(now)
            self.tokens -= 1

    def success(self, now, pressed):
        self.measure(now, bool(pressed))
        if not self.rate:
            return
        self.refill(now)
        if self.summit is None:
            self.rate += 0.5
            return
        t = (now - self.cut) / 1000
        k = (self.summit * 0.3 / 0.4) ** (1 / 3)
        self.rate = max(0.2, min(2 * self.measured, 0.4 * (t - k) ** 3 + self.summit))

    def throttled(self, now, sent_at):
        self.pressed = now
        if not self.rate:
            self.rate = max(0.5, 0.7 * self.measured)
            self.summit = None
            self.tokens = 0.0
            self.at = now
            self.measured = 0.0
            self.answers, self.counted, self.peaks = [], 0, []
        elif sent_at <= self.cut:
            return 0
        else:
            self.refill(now)
            low = min(self.measured, self.rate) if self.measured else self.rate
            self.summit = low if self.measured else self.summit
            self.rate = max(0.2, 0.7 * low)
            self.tokens = min(self.tokens, 0.0)
        self.cut = now
        return 1

    def close(self, _, until):
        self.closed = max(self.closed, until)

    def ease(self, now, _):
        if self.rate:
            self.refill(now)
            self.tokens = min(1.0, self.tokens)
            self.slow_until = now + 1000

    def wait(self, now, position):
        closed = max(0, self.closed - now)
        if not self.rate:
            return closed
        self.refill(now)
        missing = position + 1 - self.tokens
        if missing <= 0:
            return closed
        if self.summit is None:
            return max(closed, math.floor(2000 * math.log(1 + missing * 0.5 / self.rate)))
        best = max([self.rate] + [m for _, m in self.peaks[-1:]])
        return max(closed, self.delay(missing, best, now))


def is_close(a, b):
    return abs(a - b) <= TOLERANCE * max(1.0, abs(a), abs(b))


def is_rounded(exact, got):
    """The next whole millisecond; on the edge either of the two."""
    return got == math.ceil(exact) or (is_close(exact, round(exact)) and abs(got - round(exact)) <= 1)


def main():
    program, count = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else '4000'
    trace = subprocess.run([program, count], stdout=subprocess.PIPE, check=True, text=True).stdout
    pacer, events, wrong = None, 0, 0
    for number, line in enumerate(trace.splitlines(), 1):
        name, *rest = line.split()
        if name == 'new':
            pacer = Pacer()
            broken = False
            continue
        if broken:
            continue  # one mistake of a sequence leads to others
        now, argument, returned = (int(text) for text in rest[:3])
        want = getattr(pacer, name)(now, argument)
        state = (pacer.rate, pacer.tokens, pacer.measured)
        got = tuple(float(text) for text in rest[3:])
        events += 1
        good = all(is_close(a, b) for a, b in zip(state, got))
        if want is not None:
            good = good and is_rounded(want, returned)
        if not good:
            broken = True
            wrong += 1
            if wrong <= 5:
                print(f'line {number}: {line}\n\twant {want} {state}')
    print(f'{events} events, {wrong} sequences of {count} wrong')
    if wrong or events < int(count) * 150:
        sys.exit(1)


if __name__ == '__main__':
    main()
