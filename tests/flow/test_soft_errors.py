"""Errors that come with status 200 (CONTRACT 3, What is retried)."""

import gzip
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import STREAM, main
from streams import DONE, FINISH, ONE, RESPONSES, StreamTest, pieces
from upstream import EVENT_STREAM, JSON, fin, reply, sse

OK = reply(200, b'{"choices":[]}', [JSON])
OK_STREAM = sse(ONE, FINISH, DONE)
HTML = ("Content-Type", "text/html")
DEPLOYMENTS = "/v1/accounts/a/deployments"
TRAINER = "/training/v1/rlorTrainerJobs/a/j/api/v1/forward_backward"
RETRIED = (408, 429, 500, 502, 503, 504, 520)
PATIENT = {     # of one request at a time: these rules are not about overload
    "upstream.fireworks": {"breaker": "off", "pacing": "off"},
    "server": {"workers": "1"}, "profile.default": {"backoff_base": "1ms"}}


def error(**words):
    return json.dumps({"error": words}).encode()


# The shapes of shared/facts/fireworks.md 3.2 that are JSON and nothing but an error: the text, the
# status that it names (None: none) and the code in the event log.
SHAPES = {
    "A": (error(object="error", type="invalid_request_error", code="invalid_request_error",
                message="bad"), 400, "invalid_request_error"),
    "B": (error(object="error", type="invalid_request_error", code="too_many_requests",
                message="overloaded"), 429, "too_many_requests"),
    "C scaling": (error(message="scaling", code="DEPLOYMENT_SCALING_UP", type="error"),
                  503, "DEPLOYMENT_SCALING_UP"),
    "C unavailable": (error(message="m", code="SERVICE_UNAVAILABLE", type="error"),
                      503, "SERVICE_UNAVAILABLE"),
    "C bad": (error(message="m", code="BAD_REQUEST", type="error"), 400, "BAD_REQUEST"),
    "D": (error(code="NOT_FOUND", message="Model not found"), 404, "NOT_FOUND"),
    "E": (b'{"error":"Too Many Requests","message":"You have exceeded your limits."}',
          429, "Too Many Requests"),
    "E alone": (b'{"error":"it broke"}', None, "it broke"),
    "F": (b'{"code":5,"message":"RlorTrainerJob j not found"}', None, "5"),
    "status number": (error(status=504, message="late"), 504, None),
    "code number": (error(code=520, message="odd", type="invalid_request_error"), 520, "520"),
    "number in words": (error(code="502", message="odd"), 502, "502"),
    "type only": (error(type="rate_limit_error", message="slower"), 429, "rate_limit_error"),
    "Anthropic": (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}',
                  503, "overloaded_error"),
    "401": (error(type="authentication_error", message="key"), 401, "authentication_error"),
    "403": (error(type="permission_error", message="no"), 403, "permission_error"),
    "blanks around": (b'\r\n {"error":{"message":"m","code":"SERVICE_UNAVAILABLE"}}\n',
                      503, "SERVICE_UNAVAILABLE"),
    "spread": (b'{\n  "error" : {\n    "message": "m", "code": "NOT_FOUND"\n  }\n}',
               404, "NOT_FOUND"),
}
ON_ONE_LINE = {name: shape for name, shape in SHAPES.items() if b"\n" not in shape[0]}

# Ways in which a stream may begin with it.
FORMS = {
    "data only": b"data: %s\n\n",
    "no blank": b"data:%s\n\n",
    "named": b"event: error\ndata: %s\n\n",
    "named behind": b"data: %s\nevent: error\n\n",
    "CRLF": b"event: error\r\ndata: %s\r\n\r\n",
    "CR": b"data: %s\r\r",
    "after comments": b": hello\n\n\n: processing\n\ndata: %s\n\n",
    "after a BOM": b"\xef\xbb\xbfdata: %s\n\n",
    "after an id": b"id: 1\nretry: 3000\n\ndata: %s\n\n",
    "with [DONE]": b"data: %s\n\ndata: [DONE]\n\n",
    "unfinished": b"data: %s",
}


class SoftErrors(StreamTest):
    def assert_judged(self, start, answers, fine, shape):
        """The answer is retried, or has the status that it names; the log says so. `answers` has
        the error in it, `start` asks, `fine` is what a further attempt gets."""
        text, named, code = shape
        status = named or 502
        retried = status in RETRIED
        self.upstream.script[:] = [answers] + [fine] * retried
        answer = start()
        event = self.wait_event(event="attempt", request_id=answer.header("X-Request-Id"))
        self.assertEqual((event["status"], event["error"], event["dashboard"], event["attempt"]),
                         (status, "upstream_status", "visible", 1), event)
        if code:
            self.assertEqual(event.get("error_code"), code, event)
        self.assertEqual(event.get("retry_in_ms") is not None, retried, event)
        if retried:
            self.assert_status(answer, 200)
            self.assert_attempts(answer, 2)
            self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
        else:
            self.assert_handed_back(answer, text, named)
            self.assert_attempts(answer, 1)

    def assert_handed_back(self, answer, text, named, kind="application/json"):
        self.assert_status(answer, named or 502)
        self.assertEqual((answer.body.strip(), answer.end), (text.strip(), "complete"))
        self.assertEqual(answer.all("Content-Type"), [kind])
        self.assertEqual(answer.all("X-Andiron-Source"), ["upstream" if named else "andiron"])
        stops = answer.status in (408, 409, 429) or answer.status >= 500
        self.assertEqual(answer.all("x-should-retry"), ["false"] * stops)
        self.assertNotIn(answer.reason, ("", "OK"))

    def ask_once(self):
        return self.ask(headers=[("X-Andiron-Max-Attempts", "1")])


class Bodies(SoftErrors):
    def test_each_shape_gets_the_status_that_it_names(self):
        self.launch([], PATIENT)
        for name, shape in SHAPES.items():
            with self.subTest(name):
                self.assert_judged(self.post, reply(200, shape[0], [JSON]), OK, shape)

    def test_each_shape_in_answer_to_a_stream(self):
        self.launch([], PATIENT)
        for name, shape in SHAPES.items():
            with self.subTest(name):
                self.assert_judged(self.ask, reply(200, shape[0], [JSON]), OK_STREAM, shape)

    def test_each_shape_behind_the_header_of_a_stream(self):
        self.launch([], PATIENT)
        for name, shape in SHAPES.items():
            with self.subTest(name):
                self.assert_judged(self.ask, reply(200, shape[0], [EVENT_STREAM]), OK_STREAM,
                                   shape)

    def test_used_up_it_goes_back_with_its_status(self):
        self.launch([], PATIENT)
        for ask in (self.post, self.ask):
            for name, (text, named, _) in SHAPES.items():
                with self.subTest(name, ask=ask):
                    self.upstream.script[:] = [reply(200, text, [JSON])] * 5
                    answer = ask()
                    self.assert_handed_back(answer, text, named)
                    self.assert_attempts(answer, 5 if (named or 502) in RETRIED else 1)

    def test_the_request_event_has_the_status_that_the_client_got(self):
        self.launch([reply(200, SHAPES["D"][0], [JSON])])
        self.post()
        event = self.wait_event(event="request")
        self.assertEqual((event["status"], event["attempts"], event["error"], event["error_code"]),
                         (404, 1, "upstream_status", "NOT_FOUND"), event)

    def test_other_paths_of_inference(self):
        self.launch([], PATIENT)
        for path in ("/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/rerank",
                     "/v1/audio/transcriptions"):
            with self.subTest(path):
                self.assert_judged(lambda path=path: self.post(path),
                                   reply(200, SHAPES["B"][0], [JSON]), OK, SHAPES["B"])

    def test_in_pieces_without_a_length(self):
        self.launch([], PATIENT)
        shape = SHAPES["C scaling"]
        self.assert_judged(self.post, sse(*pieces(shape[0]), headers=[JSON]), OK, shape)

    def test_a_retry_after_beside_it_is_kept_to(self):
        self.launch([reply(200, SHAPES["B"][0], [JSON, ("retry-after-ms", "400")]), OK], PATIENT)
        self.assert_status(self.post(), 200)
        first, second = self.upstream.requests
        self.assertGreaterEqual(second.at - first.at, 0.4)

    def test_max_attempts_counts_them(self):
        self.launch([[fin], reply(200, SHAPES["C scaling"][0], [JSON]), reply(503), OK], PATIENT)
        self.assert_attempts(self.post(), 4)


class FirstEvents(SoftErrors):
    def check_form(self, form, size=None):
        for name, shape in ON_ONE_LINE.items():
            with self.subTest(name, size=size):
                begun = form % shape[0]
                self.assert_judged(self.ask, sse(*(pieces(begun, size) if size else [begun])),
                                   OK_STREAM, shape)

    def test_each_shape_in_each_form(self):
        self.launch([], PATIENT)
        for name, form in FORMS.items():
            with self.subTest(form=name):
                self.check_form(form)

    def test_cut_behind_every_byte(self):
        self.launch([], PATIENT)
        for name in ("after comments", "CRLF", "unfinished"):
            with self.subTest(form=name):
                form = FORMS[name]
                for key in ("A", "B", "E"):
                    self.assert_judged(self.ask, sse(*pieces(form % SHAPES[key][0])), OK_STREAM,
                                       SHAPES[key])

    def test_cut_at_any_byte(self):
        self.launch([], PATIENT)
        whole, shape = FORMS["CRLF"] % SHAPES["D"][0], SHAPES["D"]
        for at in range(1, len(whole)):
            with self.subTest(at=at):
                self.assert_judged(self.ask, sse(whole[:at], whole[at:]), OK_STREAM, shape)

    def test_used_up_its_data_is_the_answer(self):
        self.launch([], PATIENT)
        for form in ("data only", "CRLF", "after comments"):
            for name, (text, named, _) in ON_ONE_LINE.items():
                with self.subTest(name, form=form):
                    self.upstream.script[:] = [sse(FORMS[form] % text)]
                    self.assert_handed_back(self.ask_once(), text, named)

    def test_words_of_another_shape_become_an_error_object(self):
        """`event: error` with text, or data on several lines: no JSON on one line."""
        self.launch([], PATIENT)
        for event, message in ((b"event: error\ndata: it broke\n\n", "it broke"),
                               (b'event: error\ndata: {"error":\ndata: {"message":"two"}}\n\n',
                                "two")):
            with self.subTest(event):
                self.upstream.script[:] = [sse(event)]
                answer = self.ask_once()
                self.assert_status(answer, 502)
                self.assertEqual(answer.json()["error"]["message"], message)
                self.assertEqual(answer.all("Content-Type"), ["application/json"])

    def test_other_dialects_have_keys_beside_it(self):
        self.launch([], PATIENT)
        said = b'{"type":"error","code":"server_error","message":"m","sequence_number":1}'
        for path, retried in (("/v1/messages", True), (RESPONSES, False)):  # 500, guarded
            with self.subTest(path):
                self.upstream.script[:] = [sse(b"event: error\ndata: " + said + b"\n\n")] * 5
                answer = self.ask(path)
                self.assert_status(answer, 500)
                self.assertEqual(answer.body, said)
                self.assert_attempts(answer, 5 if retried else 1)

    def test_a_stream_that_is_reset_behind_it_is_that_error_still(self):
        self.launch([], PATIENT)
        shape = SHAPES["D"]
        self.assert_judged(self.ask, sse(FORMS["data only"] % shape[0], fin), OK_STREAM, shape)


class NoEvents(SoftErrors):
    """What is no event at all, in answer to "stream": true."""

    TEXTS = {
        "HTML": (b"<html><body><h1>502 Bad Gateway</h1></body></html>", HTML),
        "a doctype": (b"<!DOCTYPE html>\r\n<title>520</title>\r\n\r\n<p>\r\n\r\n", HTML),
        "text": (b"upstream connect error or disconnect/reset before headers", ("X", "y")),
        "detail": (b'{"detail":[{"loc":["body"],"msg":"field required"}]}', JSON),
        "a completion": (b'{"id":"x","object":"chat.completion","choices":[{"index":0}]}', JSON),
        "nothing": (b"", JSON),
    }

    def test_it_is_retried(self):
        self.launch([], PATIENT)
        for name, (text, kind) in self.TEXTS.items():
            for header in (kind, EVENT_STREAM):
                with self.subTest(name, header=header):
                    self.upstream.script[:] = [reply(200, text, [header]), OK_STREAM]
                    answer = self.ask()
                    self.assert_whole(answer, ONE + FINISH + DONE)
                    self.assert_attempts(answer, 2)

    def test_used_up_it_goes_back_with_502(self):
        self.launch([], PATIENT)
        for name, (text, kind) in self.TEXTS.items():
            with self.subTest(name):
                self.upstream.script[:] = [reply(200, text, [kind])] * 5
                answer = self.ask()
                self.assert_status(answer, 502)
                self.assertEqual((answer.body, answer.end), (text, "complete"))
                self.assertEqual(answer.all("X-Andiron-Source"), ["andiron"])
                self.assertEqual(answer.all(kind[0]), [kind[1]])
                self.assert_attempts(answer, 5)

    def test_behind_a_stream_s_header_it_goes_back_whole(self):
        self.launch([], PATIENT)
        for name, (text, _) in self.TEXTS.items():
            if not text:
                continue    # that is an empty stream
            for size in (1, 1000):
                with self.subTest(name, size=size):
                    self.upstream.script[:] = [sse(*pieces(text, size))]
                    answer = self.ask_once()
                    self.assert_status(answer, 502)
                    self.assertEqual((answer.body, answer.end), (text, "complete"))
                    self.assertEqual(answer.all("X-Andiron-Source"), ["andiron"])

    def test_a_long_page_is_handed_back_too(self):
        self.launch([reply(200, b"<html>" + b"x" * 300_000, [HTML])], PATIENT)
        answer = self.ask_once()
        self.assertIn(answer.status, (200, 502), repr(answer))
        self.assertEqual(len(answer.body), 300_006)


class NoErrors(SoftErrors):
    """What must not be taken for an error."""

    BODIES = [
        b'{"choices":[],"error":{"message":"m","code":"SERVICE_UNAVAILABLE"}}', b"{}",
        b'{"error":null}', b'{"error":{}}', b'{"error":""}', b'{"error":{"message":""}}',
        b'{"message":""}', b'{"type":"message"}', b'{"code":0}', b'{"message":{"role":"x"}}',
        b'[{"error":{"message":"m"}}]', b'{"error":{"message":"m"}', b'"error"', b"", b"null",
        b'{"error":{"message":"m"}} {}', b'{"detail":"m"}',
        b'{"id":"x","object":"response","error":{"code":"server_error","message":"m"}}',
        b'{"code":5,"message":"m","details":[]}',
    ]

    def assert_passed(self, answer, body):
        self.assert_status(answer, 200)
        self.assertEqual((answer.body, answer.end), (body, "complete"))
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
        self.assert_attempts(answer, 1)

    def test_bodies(self):
        self.launch([], PATIENT)
        for body in self.BODIES:
            with self.subTest(body):
                self.upstream.script[:] = [reply(200, body, [JSON])]
                self.assert_passed(self.post(), body)

    def test_first_events(self):
        self.launch([], PATIENT)
        for data in self.BODIES[:8]:
            with self.subTest(data):
                events = [b"data: " + data + b"\n\n", FINISH, DONE]
                self.upstream.script[:] = [sse(*events)]
                self.assert_passed(self.ask(), b"".join(events))

    def test_what_the_control_plane_and_the_trainer_say(self):
        self.launch([], PATIENT)
        for method, path in (("POST", DEPLOYMENTS), ("GET", DEPLOYMENTS + "/d"), ("POST", TRAINER),
                             ("POST", "/v1/accounts/a/jobs/j:executeTrainStep")):
            for name in ("D", "E", "F"):
                with self.subTest(path=path, name=name):
                    self.upstream.script[:] = [reply(200, SHAPES[name][0], [JSON])]
                    answer = self.request(method, path, [], b"{}" if method == "POST" else None)
                    self.assert_passed(answer, SHAPES[name][0])

    def test_a_confirmation(self):
        """What Fireworks says to DELETE /responses/ID has the keys of an error."""
        said = b'{"message":"Response deleted successfully"}'
        self.launch([reply(200, said, [JSON])], PATIENT)
        self.assert_passed(self.request("DELETE", RESPONSES + "/r1"), said)

    def test_encoded_bodies(self):
        self.launch([], PATIENT)
        body = gzip.compress(SHAPES["B"][0])
        coding = ("Content-Encoding", "gzip")
        for ask, kind in ((self.post, JSON), (self.ask, JSON), (self.ask, EVENT_STREAM)):
            with self.subTest(ask=ask, kind=kind):
                self.upstream.script[:] = [reply(200, body, [kind, coding])]
                self.assert_passed(ask(), body)

    def test_large_bodies(self):
        self.launch([], PATIENT)
        body = json.dumps({"error": {"message": "x" * 100_000}}).encode()
        self.upstream.script[:] = [reply(200, body, [JSON])]
        self.assert_passed(self.post(), body)

    def test_the_answer_to_head(self):
        self.launch([reply(200, SHAPES["B"][0], [JSON])], PATIENT)
        self.assert_status(self.request("HEAD", "/v1/models"), 200)
        self.assert_seen(1)

    def test_streams_of_paths_without_a_known_form(self):
        body = b'{"id":"x"}'
        self.launch([reply(200, body, [JSON])], PATIENT)
        self.assert_passed(self.request("POST", "/v1/workflows/w/text_to_image", [], STREAM), body)


class Classes(SoftErrors):
    """How far a soft error may be repeated is the class's to say, as for the status itself."""

    def check(self, path, name, status, repeated, ask=None):
        self.upstream.script[:] = [reply(200, SHAPES[name][0], [JSON]), OK_STREAM if ask else OK]
        answer = (ask or self.post)(path)
        self.assert_status(answer, 200 if repeated else status)
        self.assert_attempts(answer, 2 if repeated else 1)
        event = self.wait_event(event="attempt", request_id=answer.header("X-Request-Id"))
        self.assertEqual((event["status"], event["reason"]),
                         (status, "status" if repeated else "class"), event)

    def test_guarded_requests_are_repeated_after_503_and_429_only(self):
        self.launch([], PATIENT)
        for path in (RESPONSES, "/v1/workflows/w/text_to_image"):
            with self.subTest(path):
                self.check(path, "C scaling", 503, True)
                self.check(path, "B", 429, True)
                self.check(path, "F", 502, False)
                self.check(path, "status number", 504, False)

    def test_so_are_their_streams(self):
        self.launch([], PATIENT)
        self.upstream.script[:] = [sse(FORMS["named"] % SHAPES["F"][0])]
        answer = self.ask(RESPONSES)
        self.assert_handed_back(answer, SHAPES["F"][0], None)
        self.assert_seen(1)

    def test_train_steps_never(self):
        self.launch([], PATIENT)
        self.check("/inference/v1/x:executeTrainStep", "C scaling", 503, False)


class NotHeld(SoftErrors):
    """hold_first_event = off: the head goes out before anything is known."""

    CONFIG = {**PATIENT, "profile.default": {"hold_first_event": "off"}}

    def test_a_first_event_that_is_an_error_ends_the_stream(self):
        self.launch([], self.CONFIG)
        for name in ("A", "B", "D", "E"):
            with self.subTest(name):
                text, _, code = SHAPES[name]
                self.upstream.script[:] = [sse(FORMS["data only"] % text), OK_STREAM]
                answer = self.ask()
                self.assert_status(answer, 200)
                said = self.assert_error_event(answer, b"")
                self.assertEqual(said["code"], code)
                self.assertIn(said["message"].encode(), text)
                self.assert_attempts(answer, 1)
                event = self.wait_event(event="attempt", request_id=answer.header("X-Request-Id"))
                self.assertEqual((event["error"], event["error_code"]), ("stream_error", code))

    def test_a_body_is_judged_all_the_same(self):
        self.launch([], self.CONFIG)
        for ask, fine in ((self.post, OK), (self.ask, OK_STREAM)):
            self.assert_judged(ask, reply(200, SHAPES["B"][0], [JSON]), fine, SHAPES["B"])

    def test_a_stream_that_goes_well_goes_well(self):
        self.launch([OK_STREAM], self.CONFIG)
        self.assert_whole(self.ask(), ONE + FINISH + DONE)


if __name__ == "__main__":
    main()
