"""What the tests of paces, breakers, queues, fallbacks and hedges share (CONTRACT 3, Overload).

Requests have names, so that the upstream can say whose turn it was: `ask` sends one and does not
wait, `whole` reads its answer, `order` are the names as the upstream saw them. With one worker
`fence` makes an order of arrival: what was asked before it has its place in the queue.
"""

import collections
import json
import threading
import time

from client import Client
from harness import BOUND, COMPLETIONS
from streams import StreamTest
from upstream import JSON, hold, reply, wait

OK = reply(200, b'{"ok":true}', [JSON])
MODEL = "accounts/fireworks/models/m"
OTHER = "accounts/fireworks/models/other"
KEY = "fw_canarypace0123456789"
DEPLOYMENTS = "/v1/accounts/a/deployments"
RESPONSES = "/v1/responses"
TRAINER = "/training/v1/rlorTrainerJobs/a/j/api/v1/forward_backward"
CREATE = "/v1/accounts/a/batchInferenceJobs?batchInferenceJobId=mine"
ONCE = [("X-Andiron-Max-Attempts", "1")]
LEARNING = 0.6      # seconds of successes, after which a pace begins with what was measured


def refusal(status, *headers, code="X"):
    body = b'{"error":{"message":"%d","code":"%s"}}' % (status, code.encode())
    return reply(status, body, [JSON, *headers])


def body_of(name, model=MODEL, **more):
    return json.dumps({"model": model, "user": name, "messages": [], **more}).encode()


def name_of(request):
    return json.loads(request.body)["user"] if request.body else request.target


def model_of(request):
    return json.loads(request.body)["model"]


def held(gate=None, answer=OK):
    """An answer that comes when the gate opens; without one, never."""
    return [wait(gate)] + answer if gate else [hold()]


class Pile:
    """A script: one answer for each request while there are any, then always the same. A request
    whose name has answers of its own gets these first."""

    def __init__(self, *answers, then=OK, **named):
        self.answers = collections.deque(answers)
        self.named = {name: collections.deque(of) for name, of in named.items()}
        self.then = then

    def __call__(self, request):
        own = self.named.get(name_of(request))
        for pile in (own, self.answers):
            if pile:
                return pile.popleft()
        return self.then


class Crowd:
    """A script that counts who is at the upstream at once. A request has left before its answer's
    last byte goes out, so the count is never too high."""

    def __init__(self, answer=OK, before=lambda connection: None):
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.answer, self.before = answer, before

    def _count(self, change):
        with self.lock:
            self.now += change
            self.most = max(self.most, self.now)

    def __call__(self, _):
        self._count(1)
        return [self.before, lambda _: self._count(-1)] + self.answer


class OverloadTest(StreamTest):
    def start(self, script=OK, up=None, profile=None, server=None, tls=None, upstream=None,
              env=None, **more):
        """Keys of the upstream (a None has its default), of profile.default, of the server."""
        config = {"server": {"workers": "1", **(server or {})}, "upstream.fireworks": up or {},
                  "profile.default": profile or {}, **more}
        self.launch(config=config, env=env, upstream=upstream or self.scripted(script, tls))
        return self.upstream

    # asking

    def ask(self, name, model=MODEL, headers=(), path=COMPLETIONS, **more):
        """Sends it, and waits for nothing; its connection."""
        client = self.connect()
        client.name = name
        client.send_request("POST", path, [JSON, *headers], body_of(name, model, **more))
        return client

    def queue(self, name, *arguments, **more):
        """Asks, and waits until andiron has taken it; needs one worker."""
        client = self.ask(name, *arguments, **more)
        self.fence()
        return client

    def whole(self, client, status=None):
        answer = client.read_head()
        _ = answer.body
        if status:
            self.assert_status(answer, status)
        return answer

    def say(self, name, *arguments, status=None, **more):
        """Asks and reads the whole answer."""
        return self.whole(self.ask(name, *arguments, **more), status)

    def learn(self, model=MODEL, headers=()):
        """So many successes that a cut begins high: the tests become quick, not true."""
        client = self.connect()
        until = time.monotonic() + LEARNING
        while time.monotonic() < until:
            answer = client.request("POST", COMPLETIONS, [JSON, *headers], body_of("learn", model))
            self.assert_status(answer, 200)
        self.fence()

    # what was seen

    def order(self):
        return [name for name in map(name_of, list(self.upstream.requests)) if name != "learn"]

    def sends(self, name):
        return [request for request in list(self.upstream.requests) if name_of(request) == name]

    def wait_sends(self, name, count=1):
        """Waits until the upstream has seen a name so many times; the last of them."""
        with self.upstream.lock:
            found = self.upstream.lock.wait_for(lambda: len(self.sends(name)) >= count, BOUND)
        self.assertTrue(found, f"{name} was not seen {count} times, but {self.order()}")
        return self.sends(name)[count - 1]

    def wait_order(self, count):
        """Waits until the upstream has seen so many requests that are not of `learn`."""
        with self.upstream.lock:
            found = self.upstream.lock.wait_for(lambda: len(self.order()) >= count, BOUND)
        self.assertTrue(found, f"not {count} requests, but {self.order()}")

    def assert_order(self, *names):
        self.assertEqual(self.order(), list(names))

    def wait_state(self, state, count=1):
        return self.wait_event(event="state", state=state, count=count)

    def assert_no_state(self, *states):
        found = [event for event in self.andiron.find_events(event="state")
                 if event["state"] in states]
        self.assertEqual(found, [])

    def settle(self, count=1, **fields):
        """The end of a request (of a fence: not) is in the log."""
        return self.wait_event(lambda event: event.get("path") != "/nowhere",
                               event="request", count=count, **fields)

    def assert_overflow(self, answer, code="connection_limit_reached"):
        """andiron has no room for it now: an SDK may come again, and knows when."""
        self.assert_error(answer, 503, code)
        self.assertEqual(answer.all("x-should-retry"), ["true"], repr(answer))
        self.assertIn(code, answer.header("Proxy-Status") or "", repr(answer))
        self.assert_seconds(answer)

    def assert_seconds(self, answer, least=1, most=60):
        self.assertEqual(len(answer.all("Retry-After")), 1, repr(answer))
        self.assertIn(int(answer.header("Retry-After")), range(least, most + 1), repr(answer))

    def connection_of(self, request):
        return self.upstream.connections[request.connection]

    def hang_up(self, *clients, leave=Client.fin):
        for client in clients:
            leave(client)
