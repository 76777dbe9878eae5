"""Creates whose id the client chose: a lost answer does not become a 409 (CONTRACT 3, the class
create_with_id); and what each class says in the event log."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, FlowTest, main
from upstream import JSON, chunked, fin, hold, nothing, reply, rst, send, short

ACCOUNT = "/v1/accounts/a"
PATH = ACCOUNT + "/deployments?deploymentId=d-1"
THERE = ACCOUNT + "/deployments/d-1"
SENT = b'{"baseModel":"m"}'
MADE = b'{"name":"accounts/a/deployments/d-1","state":"CREATING"}'
EXISTS = b'{"code":6,"message":"deployment already exists"}'
CREATED = reply(200, MADE, [JSON, ("X-Theirs", "get")])
CONFLICT = reply(409, EXISTS, [JSON, ("X-Theirs", "post")])
OK = reply(200, b"{}", [JSON])
COLLECTIONS = {
    "batchInferenceJobs": "batchInferenceJobId", "deployments": "deploymentId",
    "dpoJobs": "dpoJobId", "reinforcementFineTuningJobs": "reinforcementFineTuningJobId",
    "rlorTrainerJobs": "rlorTrainerJobId",
    "supervisedFineTuningJobs": "supervisedFineTuningJobId", "users": "userId"}
LOST = {"fin": [fin], "rst": [rst], "a cut answer": short(b'{"na', 100),
        "a cut chunk": chunked(b'{"na', fin, headers=[JSON]),
        "half a head": [send(b"HTTP/1.1 2"), fin]}
HEADERS = [JSON, ("Content-Encoding", "identity"), ("Content-Language", "en"),
           ("Authorization", "Bearer k"), ("User-Agent", "ua/1"), ("x-a", "1"),
           ("Accept", "application/json"), ("X-Request-Id", "mine")]


class CreateTest(FlowTest):
    def create(self, script, path=PATH, config=None, headers=HEADERS):
        self.launch(script, config)
        return self.request("POST", path, headers, SENT)

    def assert_made(self, answer, attempts=2):
        """The answer is the GET's, of what the first attempt made."""
        self.assert_status(answer, 200)
        self.assertEqual((answer.body, answer.all("X-Theirs")), (MADE, ["get"]))
        self.assertEqual(answer.all("X-Andiron-Source"), ["upstream"])
        self.assert_attempts(answer, attempts)

    def assert_conflict(self, answer):
        """The answer is the 409 itself."""
        self.assert_status(answer, 409)
        self.assertEqual((answer.body, answer.all("X-Theirs"), answer.end),
                         (EXISTS, ["post"], "complete"))
        self.assertEqual(answer.all("X-Andiron-Source"), ["upstream"])
        self.assertEqual(answer.all("x-should-retry"), ["false"])

    def assert_asked(self, *lines):
        self.assertEqual([f"{request.method} {request.target}"
                          for request in self.upstream.requests], list(lines))


class Lost(CreateTest):
    def test_what_was_made_is_the_answer(self):
        for name, lost in LOST.items():
            with self.subTest(name):
                answer = self.create([lost, CONFLICT, CREATED])
                self.assert_made(answer)
                self.assert_asked("POST " + PATH, "POST " + PATH, "GET " + THERE)

    def test_behind_a_refusal_too(self):
        for status in (500, 502, 503, 504):
            with self.subTest(status):
                self.assert_made(self.create([reply(status), CONFLICT, CREATED]))

    def test_behind_silence(self):
        profile = {"first_byte_timeout": "400ms"}
        answer = self.create([nothing(), CONFLICT, CREATED], config={"profile.batch": profile})
        self.assert_made(answer)

    def test_behind_several(self):
        self.assert_made(self.create([[fin], [rst], reply(503), CONFLICT, CREATED]), 4)

    def test_the_get_has_no_body_and_nothing_of_one(self):
        self.create([[fin], CONFLICT, CREATED])
        first, _, get = self.upstream.requests
        self.assertEqual((get.framing, get.body), (None, b""))
        self.assertEqual([name for name, _ in get.headers
                          if name.lower().startswith("content-")
                          or name.lower() == "transfer-encoding"], [])
        kept = [(name, value) for name, value in first.headers
                if not name.lower().startswith("content-")]
        self.assertEqual(get.headers, kept)

    def test_of_every_collection(self):
        for collection, parameter in COLLECTIONS.items():
            with self.subTest(collection):
                path = f"{ACCOUNT}/{collection}"
                answer = self.create([[fin], CONFLICT, CREATED], f"{path}?{parameter}=x-1")
                self.assert_made(answer)
                self.assertEqual(self.upstream.requests[2].target, path + "/x-1")

    def test_the_id_is_found_among_others(self):
        for query in ("validateOnly=false&deploymentId=d-1", "deploymentId=d-1&x=1&y",
                      "deployment%49d=d-1", "x&deploymentId=d-1"):
            with self.subTest(query):
                path = f"{ACCOUNT}/deployments?{query}"
                self.assert_made(self.create([[fin], CONFLICT, CREATED], path))
                self.assert_asked("POST " + path, "POST " + path, "GET " + THERE)

    def test_a_second_attempt_that_makes_it_is_the_answer(self):
        answer = self.create([[fin], reply(200, MADE, [JSON, ("X-Theirs", "get")])])
        self.assert_made(answer)
        self.assert_seen(2)

    def test_through_the_other_addresses(self):
        for path in ("/p/batch" + PATH, "/v1/accounts/a/./deployments?deploymentId=d-1"):
            with self.subTest(path):
                self.assert_made(self.create([[fin], CONFLICT, CREATED], path))
                self.assertEqual(self.upstream.requests[2].target, THERE)

    def test_the_log_says_how_it_went(self):
        self.create([[fin], CONFLICT, CREATED])
        event = self.wait_event(event="request")
        self.assertEqual((event["class"], event["status"], event["attempts"], event.get("error")),
                         ("create_with_id", 200, 2, None), event)
        reasons = [(event.get("status"), event["error"], event["reason"])
                   for event in self.andiron.find_events(event="attempt")]
        self.assertEqual(reasons, [(None, "connection_terminated", "no_answer"),
                                   (409, "upstream_status", "final")])


class Replaced(CreateTest):
    def test_a_replaced_connection_then_a_conflict(self):
        """The kept connection died under it, perhaps behind the creation."""
        for end in (fin, rst):
            with self.subTest(end=end):
                self.launch([OK, [end], CONFLICT, CREATED], {"server": {"workers": "1"}})
                self.assert_status(self.request("GET", ACCOUNT), 200)
                answer = self.request("POST", PATH, HEADERS, SENT)
                self.assert_made(answer, 1)
                self.assert_asked("GET " + ACCOUNT, "POST " + PATH, "POST " + PATH, "GET " + THERE)


class GetFails(CreateTest):
    def test_then_the_conflict_is_the_answer(self):
        answers = {"404": reply(404, b"{}"), "403": reply(403), "500": reply(500, b"x"),
                   "429": reply(429), "fin": [fin], "rst": [rst], "half": short(b"{", 50),
                   "302": reply(302, b"", [("Location", "/x")]), "no HTTP": [send(b"\r\nhm"), fin]}
        for name, answer in answers.items():
            with self.subTest(name):
                self.assert_conflict(self.create([[fin], CONFLICT, answer]))
                self.assert_seen(3)     # it is asked for once
                event = self.wait_event(event="request")
                self.assertEqual((event["status"], event["error"]), (409, "upstream_status"))

    def test_or_says_nothing_in_time(self):
        answer = self.create([[fin], CONFLICT, nothing()],
                             config={"profile.batch": {"total_timeout": "800ms"}})
        self.assert_conflict(answer)

    def test_or_stalls(self):
        stalled = short(b"{", 50, ending=hold())
        answer = self.create([[fin], CONFLICT, stalled],
                             config={"profile.batch": {"idle_timeout": "400ms"}})
        self.assert_conflict(answer)


class Untouched(CreateTest):
    """A 409 that no earlier attempt can have caused, and what is no create with an id."""

    def test_the_first_attempt_s_own(self):
        self.assert_conflict(self.create([CONFLICT, CREATED]))
        self.assert_seen(1)

    def test_a_429_is_a_quota(self):
        answer = self.create([reply(429, b"{}", [JSON]), CREATED])
        self.assert_status(answer, 429)
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assert_seen(1)
        self.assertEqual(self.wait_event(event="attempt")["reason"], "class")

    def test_nor_on_a_later_attempt(self):
        self.assert_status(self.create([[fin], reply(429), CREATED]), 429)
        self.assert_seen(2)

    def test_without_an_id_it_is_not_repeated(self):
        for query in ("", "?", "?deploymentId=", "?deploymentId", "?x=1", "?deploymentId=.",
                      "?deploymentId=..", "?deploymentId=a%2Fb", "?deploymentId=a/b",
                      "?deploymentId=a&deploymentId=b", "?deploymentId=a%3Ax", "?dpoJobId=d-1",
                      "?deploymentid=d-1", "?deploymentId=a%zz", "?deploymentId=a;b"):
            with self.subTest(query):
                answer = self.create([[fin], CREATED], f"{ACCOUNT}/deployments{query}")
                self.assert_error(answer, 502, "connection_terminated")
                self.assert_seen(1)
                self.assertEqual(self.wait_event(event="request")["class"], "guarded")

    def test_elsewhere_an_id_means_nothing(self):
        for path in ("/deployments/d?deploymentId=d-1", "/models?modelId=m", "/x/deployments"
                     "?deploymentId=d-1", "/datasets?datasetId=s", "/deployments/?deploymentId=d"):
            with self.subTest(path):
                self.assert_status(self.create([[fin], CREATED], ACCOUNT + path), 502)
                self.assert_seen(1)

    def test_other_methods(self):
        for method in ("PUT", "PATCH", "DELETE"):
            with self.subTest(method):
                self.launch([[fin], CREATED])
                self.assert_status(self.request(method, PATH, [JSON], SENT), 502)
                self.assert_seen(1)

    def test_other_answers_of_a_later_attempt(self):
        for status in (400, 403, 404, 412):
            with self.subTest(status):
                self.assert_status(self.create([[fin], reply(status, b"{}"), CREATED]), status)
                self.assert_seen(2)

    def test_one_attempt_only(self):
        answer = self.create([[fin], CREATED], headers=HEADERS + [("X-Andiron-Max-Attempts", "1")])
        self.assert_status(answer, 502)
        self.assert_seen(1)


class Leaving(CreateTest):
    def test_while_it_is_read(self):
        self.launch([[fin], CONFLICT, nothing()])
        client = self.connect()
        client.send_request("POST", PATH, HEADERS, SENT)
        self.upstream.wait_requests(3)
        client.fin()
        event = self.wait_event(event="request")
        self.assertEqual((event["phase"], event["error"]), ("client", "client_closed"), event)
        last = self.upstream.connections[self.upstream.requests[2].connection]
        self.assertIsNotNone(last.wait_end())
        self.andiron.stop()
        self.assert_seen(3)


class Classes(FlowTest):
    """Class and reason in the events of attempts, for each class."""

    STEP = "/training/v1/rlorTrainerJobs/a/j/api/v1/optim_step"
    CASES = [   # method, path, class; repeated after: 500, 503, 429, a lost answer
        ("POST", "/v1/chat/completions", "replayable", True, True, True, True),
        ("POST", "/v1/embeddings", "replayable", True, True, True, True),
        ("POST", "/v1/messages", "replayable", True, True, True, True),
        ("GET", ACCOUNT + "/deployments/d", "replayable", True, True, True, True),
        ("GET", "/v1/models", "replayable", True, True, True, True),
        ("OPTIONS", "/v1/models", "replayable", True, True, True, True),
        ("POST", PATH, "create_with_id", True, True, False, True),
        ("POST", ACCOUNT + "/deployments", "guarded", False, True, False, False),
        ("PATCH", THERE, "guarded", False, True, False, False),
        ("PUT", THERE, "guarded", False, True, False, False),
        ("DELETE", THERE, "guarded", False, True, False, False),
        ("POST", ACCOUNT + "/rlorTrainerJobs/j:resume", "guarded", False, True, False, False),
        ("GET", "/training/v1/rlorTrainerJobs/a/j/api/v1/x", "guarded", False, True, False, False),
        ("POST", "/v1/responses", "guarded", False, True, True, False),
        ("POST", "/v1/workflows/w/text_to_image", "guarded", False, True, True, False),
        ("DELETE", "/v1/responses/r", "guarded", False, True, True, False),
        ("POST", STEP, "never", False, False, False, False),
        ("POST", ACCOUNT + "/apiKeys", "never", False, False, False, False),
        ("POST", ACCOUNT + "/users/u/apiKeys", "never", False, False, False, False),
        ("POST", ACCOUNT + "/x:executeTrainStep", "never", False, False, False, False),
    ]

    CLOSE = ("Connection", "close")     # so that no attempt meets a kept connection

    def check(self, position, fails, when_repeated):
        self.launch([], {"upstream.fireworks": {"breaker": "off", "pacing": "off"}})
        for case in self.CASES:
            with self.subTest(case):
                method, path, name, repeated = *case[:3], case[3:][position]
                seen = len(self.upstream.requests)
                self.upstream.script[:] = [fails, reply(200, b"{}", [JSON, self.CLOSE])]
                body = None if method in ("GET", "OPTIONS") else CHAT
                answer = self.request(method, path, [("X-Andiron-Max-Attempts", "2")], body)
                event = self.wait_event(event="attempt",
                                        request_id=answer.header("X-Request-Id"))
                self.assertEqual((event["class"], event["reason"]),
                                 (name, when_repeated if repeated else "class"), event)
                self.assertEqual(len(self.upstream.requests) - seen, 1 + repeated)
                self.assertEqual(answer.status == 200, repeated)

    def test_after_500(self):
        self.check(0, reply(500, b"", [self.CLOSE]), "status")

    def test_after_503(self):
        self.check(1, reply(503, b"", [self.CLOSE]), "status")

    def test_after_429(self):
        self.check(2, reply(429, b"", [self.CLOSE]), "status")

    def test_after_a_lost_answer(self):
        self.check(3, [fin], "no_answer")


if __name__ == "__main__":
    main()
