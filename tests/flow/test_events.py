"""The event log: a line for each failed attempt and for each request (CONTRACT 4)."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, COMPLETIONS, STREAM, FlowTest, main
from upstream import JSON, fin, hold, reply, sse

OK = reply(200, b'{"ok":true}', [JSON])
MODEL = "accounts/fireworks/models/m"
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


class Requests(FlowTest):
    def assert_event(self, event, **fields):
        found = {name: event.get(name) for name in fields}
        self.assertEqual(found, fields, event)

    def test_a_request_that_went_well(self):
        self.launch([OK])
        answer = self.post(COMPLETIONS + "?user=secret", headers=[("x-stainless-retry-count", "2")])
        event = self.wait_event(event="request")
        self.assert_event(
            event, method="POST", model=MODEL, stream=False, profile="default",
            upstream="fireworks", attempts=1, status=200, dashboard="visible",
            request_id=answer.header("X-Request-Id"), **{"class": "replayable"})
        self.assertIn("chat/completions", event["path"])
        self.assertNotIn("secret", str(event))
        self.assertIn(str(event["sdk_retry"]), ("2",))
        self.assertRegex(event["ts"], STAMP)
        self.assertGreaterEqual(event["total_ms"], 0)
        self.assertEqual(self.andiron.find_events(event="attempt"), [])

    def test_each_failed_attempt_has_its_line(self):
        self.launch([[fin], reply(503), reply(500), OK])
        answer = self.post()
        self.assert_attempts(answer, 4)
        last = self.wait_event(event="request")
        self.assert_event(last, attempts=4, status=200)
        attempts = self.andiron.find_events(event="attempt")
        self.assertEqual([event["attempt"] for event in attempts], [1, 2, 3])
        self.assertEqual([event.get("status") for event in attempts], [None, 503, 500])
        self.assertEqual([event["error"] for event in attempts],
                         ["connection_terminated", "upstream_status", "upstream_status"])
        self.assertEqual([event["dashboard"] for event in attempts],
                         ["unknown", "visible", "visible"])
        self.assertEqual({event["request_id"] for event in attempts}, {last["request_id"]})

    def test_the_delays_double(self):
        self.launch([reply(503)] * 5)
        self.post()
        self.wait_event(event="request")
        attempts = self.andiron.find_events(event="attempt")
        self.assertEqual([event.get("retry_in_ms") for event in attempts[:4]], [10, 20, 40, 80])
        self.assertFalse(attempts[4].get("retry_in_ms"), attempts[4])

    def test_an_answer_that_goes_back_at_once(self):
        self.launch([reply(400, b'{"error":{"message":"m","code":"BAD_MODEL"}}', [JSON])])
        self.post()
        self.assert_event(self.wait_event(event="request"), status=400, attempts=1)
        self.assert_event(self.wait_event(event="attempt"), status=400, attempt=1,
                          error="upstream_status", dashboard="visible")

    def test_a_failure_names_phase_error_and_address(self):
        self.launch(upstream=self.scripted(listening=False))
        self.post()
        for kind in ("attempt", "request"):
            event = self.wait_event(event=kind)
            self.assert_event(event, phase="connect", error="connection_refused",
                              dashboard="invisible")
        self.assertIn(str(self.upstream.port), self.wait_event(event="attempt")["address"])
        self.assertTrue(self.wait_event(event="attempt")["detail"])

    def test_a_stream(self):
        self.launch([sse(b'data: {"choices":[{"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n")])
        self.request("POST", COMPLETIONS, [], STREAM)
        self.assert_event(self.wait_event(event="request"), stream=True, status=200, model=MODEL)

    def upload(self, parts, boundary="----x", size=1):
        """A form; the event of its request. The file has lines that look like a boundary's."""
        file = (b"RIFF\r\n--\r\n------\r\n\0\xff" * size)
        head = 'Content-Disposition: form-data; name="{}"'
        bodies = {"model": (head.format("model") + "\r\n\r\nwhisper-v3").encode(),
                  "file": (head.format("file") + '; filename="a.wav"\r\n\r\n').encode() + file}
        body = b"".join(f"--{boundary}\r\n".encode() + bodies[part] + b"\r\n" for part in parts)
        answer = self.request("POST", "/v1/audio/transcriptions", [
            ("Content-Type", f"multipart/form-data; boundary={boundary}")],
            body + f"--{boundary}--\r\n".encode())
        self.assert_status(answer, 200)
        self.assertEqual(self.upstream.requests[-1].body[:len(body)], body)
        return self.wait_event(event="request", request_id=answer.header("X-Request-Id"))

    def test_the_model_of_an_upload(self):
        self.launch(lambda request: OK)
        for parts, size, model in ((["model", "file"], 1, "whisper-v3"),
                                   (["file", "model"], 1, "whisper-v3"),
                                   (["file", "model"], 400_000, "whisper-v3"),
                                   (["file"], 1, None)):
            with self.subTest(parts=parts, size=size):
                self.assert_event(self.upload(parts, size=size), model=model)

    def test_a_route_by_the_model_of_an_upload(self):
        self.launch(lambda request: OK, {"route.speech": {"model": "whisper*", "profile": "large"}})
        self.assert_event(self.upload(["file", "model"]), profile="large")
        self.assert_event(self.upload(["file"]), profile="default")

    def test_a_client_that_left(self):
        self.launch([[hold()]])
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [], CHAT)
        self.upstream.wait_requests(1)
        client.fin()
        self.assert_event(self.wait_event(event="request"), phase="client",
                          error="client_closed", attempts=1)

    def test_classes_and_profiles(self):
        self.launch(lambda request: OK)
        for method, path, name, profile in (
                ("POST", "/v1/responses", "guarded", "default"),
                ("POST", "/v1/accounts/a/deployments", "guarded", "batch"),
                ("GET", "/v1/accounts/a/deployments", "replayable", "control"),
                ("POST", "/training/v1/rlorTrainerJobs/a/j/step", "never", "default"),
                ("POST", "/p/large/v1/embeddings", "replayable", "large")):
            with self.subTest(path=path):
                answer = self.request(method, path, [], b"{}" if method == "POST" else None)
                event = self.wait_event(request_id=answer.header("X-Request-Id"))
                self.assert_event(event, profile=profile, **{"class": name})

    def test_upstream_request_ids(self):
        for name in ("x-request-id", "x-fireworks-request-id", "cf-ray"):
            with self.subTest(name=name):
                self.launch([reply(200, b"{}", [(name, "theirs-1")])])
                self.post()
                self.assert_event(self.wait_event(event="request"), upstream_request_id="theirs-1")

    def test_strange_bytes_do_not_break_a_line(self):
        self.launch([OK])
        body = '{"model":"a\\"\\n\\u0000b\u20ac"}'.encode()
        self.assert_status(self.post("/v1/completions", body, [("X-Request-Id", "a\"b")]), 200)
        self.assert_event(self.wait_event(event="request"), attempts=1)

    def test_refused_requests_are_requests_too(self):
        self.launch([])
        self.post("/nowhere")
        self.assert_event(self.wait_event(event="request"), status=404)


class Reused(FlowTest):
    def test_a_replaced_connection_is_said_to_be_reused(self):
        self.launch([OK, [fin], OK])
        client = self.connect()
        client.request("POST", COMPLETIONS, [], CHAT)
        client.request("POST", COMPLETIONS, [], CHAT)
        event = self.wait_event(event="attempt")
        self.assertTrue(event["reused"], event)
        self.assertEqual(self.wait_event(event="request", count=2)["attempts"], 1)


class States(FlowTest):
    def test_start_and_drain(self):
        self.launch([OK])
        self.wait_event(event="state", state="start")
        self.andiron.stop()
        self.assertEqual(len(self.andiron.find_events(event="state", state="drain")), 1)


class Formats(FlowTest):
    def test_text_is_a_line_for_a_person(self):
        self.launch([OK], {"log": {"events": "stderr", "format": "text"}})
        self.post()
        line = self.andiron.wait_line(r"chat/completions")
        self.assertFalse(line.startswith("{"), line)
        self.assertIn("200", line)

    def test_json_on_stderr(self):
        self.launch([OK], {"log": {"events": "stderr"}})
        self.post()
        self.assertRegex(self.andiron.wait_line(r'"event": ?"request"'), r"^\{.*\}$")

    def test_off(self):
        self.launch([OK], {"log": {"events": "off"}})
        self.assert_status(self.post(), 200)
        self.andiron.stop()
        self.assertNotIn("chat/completions", self.andiron.stderr())


if __name__ == "__main__":
    main()
