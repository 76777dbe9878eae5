"""Answers that are retried, and answers that go back at once (CONTRACT 3, What is retried)."""

import email.utils
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import FlowTest, main
from upstream import JSON, reply

OK = reply(200, b'{"ok":true}', [JSON])
RETRIED = (408, 429, 500, 502, 503, 504, 520)
AT_ONCE = (400, 401, 402, 403, 404, 405, 409, 412, 413, 422)
DEPLOYMENTS = "/v1/accounts/a/deployments"
RESPONSES = "/v1/responses"
TRAINER = "/training/v1/rlorTrainerJobs/a/j/api/v1/forward_backward"


def refusal(status, headers=()):
    return reply(status, b'{"error":{"message":"%d","code":"X"}}' % status, [JSON] + list(headers))


class Statuses(FlowTest):
    def test_passing_ones_are_retried(self):
        self.launch([])
        for status in RETRIED:
            with self.subTest(status=status):
                self.upstream.script += [refusal(status), OK]
                answer = self.post()
                self.assert_status(answer, 200)
                self.assert_attempts(answer, 2)
                self.assertEqual(answer.header("X-Andiron-Source"), "upstream")

    def test_lasting_ones_go_back_at_once_unchanged(self):
        self.launch([])
        for status in AT_ONCE:
            with self.subTest(status=status):
                self.upstream.script[:] = [refusal(status, [("X-Theirs", "1")]), OK]
                answer = self.post()
                self.assert_status(answer, status)
                self.assert_attempts(answer, 1)
                self.assertEqual(answer.json(), {"error": {"message": str(status), "code": "X"}})
                self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
                self.assertEqual(answer.all("X-Theirs"), ["1"])

    def test_a_409_says_that_it_is_final(self):
        self.launch([refusal(409, [("x-should-retry", "true")])])
        self.assertEqual(self.post().all("x-should-retry"), ["false"])

    def test_which_ones_is_configurable(self):
        self.launch([refusal(500), refusal(418), OK],
                    {"profile.default": {"retry_statuses": "418 503"}})
        self.assert_status(self.post(), 500)
        self.assert_status(self.post(), 200)

    def test_a_get_is_retried_too(self):
        self.launch([refusal(503), OK])
        self.assert_attempts(self.request("GET", "/v1/models"), 2)

    def test_a_success_is_never_repeated(self):
        self.launch([reply(status, b"") for status in (200, 201, 202, 204, 301, 304)])
        for status in (200, 201, 202, 204, 301, 304):
            with self.subTest(status=status):
                answer = self.post()
                self.assert_status(answer, status)
                self.assert_attempts(answer, 1)


class UsedUp(FlowTest):
    def test_the_last_answer_itself_goes_back(self):
        self.launch([refusal(500), refusal(502), refusal(504), refusal(500), refusal(503)])
        answer = self.post()
        self.assert_status(answer, 503)
        self.assert_attempts(answer, 5)
        self.assertEqual(answer.json()["error"]["message"], "503")
        self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
        self.assertEqual(answer.all("x-should-retry"), ["false"])
        self.assert_seen(5)

    def test_the_upstreams_should_retry_is_replaced(self):
        self.launch([refusal(503, [("X-Should-Retry", "true")])] * 5)
        self.assertEqual(self.post().all("x-should-retry"), ["false"])

    def test_max_attempts_is_configurable(self):
        self.launch([refusal(503)] * 3, {"profile.default": {"max_attempts": "3"}})
        self.assert_attempts(self.post(), 3)
        self.assert_seen(3)

    def test_the_header_asks_for_one_attempt(self):
        self.launch([refusal(503), OK])
        answer = self.post(headers=[("X-Andiron-Max-Attempts", "1")])
        self.assert_status(answer, 503)
        self.assert_attempts(answer, 1)
        self.assertEqual(answer.all("x-should-retry"), ["false"])

    def test_a_bad_header_value_gets_400(self):
        self.launch([OK])
        for name, value in (("X-Andiron-Max-Attempts", "many"), ("X-Andiron-Timeout", "soon"),
                            ("X-Andiron-Max-Attempts", "0"), ("X-Andiron-Timeout", "-1s")):
            with self.subTest(name=name, value=value):
                error = self.assert_error(self.post(headers=[(name, value)]), 400)
                self.assertIn(name.lower(), error["message"].lower())
        self.assert_seen(0)

    def test_an_unknown_profile_gets_400_with_the_known_ones(self):
        self.launch([OK])
        for answer in (self.post(headers=[("X-Andiron-Profile", "quick")]),
                       self.post("/p/quick/v1/chat/completions")):
            error = self.assert_error(answer, 400)
            for name in ("default", "interactive", "agentic", "large", "batch", "control"):
                self.assertIn(name, error["message"])
        self.assert_seen(0)

    def test_a_profile_of_header_or_base_url_decides(self):
        changes = {"profile.interactive": {"max_attempts": "2", "backoff_base": "10ms"}}
        self.launch([refusal(503)] * 4, changes)
        self.assert_attempts(self.post(headers=[("X-Andiron-Profile", "interactive")]), 2)
        self.assert_attempts(self.post("/p/interactive/v1/chat/completions"), 2)


class RetryAfter(FlowTest):
    def assert_waited(self, seconds):
        first, second = self.upstream.requests
        self.assertGreaterEqual(second.at - first.at, seconds)

    def test_it_is_a_floor_for_the_delay(self):
        for status in (503, 429):
            with self.subTest(status=status):
                self.launch([refusal(status, [("Retry-After", "1")]), OK])
                self.assert_status(self.post(), 200)
                self.assert_waited(1.0)

    def test_milliseconds_count_too(self):
        self.launch([refusal(503, [("retry-after-ms", "700")]), OK])
        self.assert_status(self.post(), 200)
        self.assert_waited(0.7)

    def test_a_date_is_understood(self):
        date = int(time.time()) + 2
        text = email.utils.formatdate(date, usegmt=True)
        self.launch([refusal(503, [("Retry-After", text)]), OK])
        self.assert_status(self.post(), 200)
        self.assertGreaterEqual(self.upstream.requests[1].wall, date)

    def test_what_cannot_be_read_is_as_if_absent(self):
        for value in ("soon", "-5", "", "1e9", "99999999999999999999x"):
            with self.subTest(value=value):
                self.launch([refusal(503, [("Retry-After", value)]), OK])
                self.assert_attempts(self.post(), 2)

    def test_above_the_cap_the_answer_goes_back_at_once(self):
        for status, value in ((503, "61"), (429, "61"), (503, "99999999999999999999")):
            with self.subTest(status=status, value=value):
                self.launch([refusal(status, [("Retry-After", value)]), OK])
                answer = self.post()
                self.assert_status(answer, status)
                self.assertEqual(answer.all("Retry-After"), [value])
                self.assertEqual(answer.all("x-should-retry"), ["false"])
                self.assert_seen(1)

    def test_past_the_deadline_the_answer_goes_back_at_once(self):
        self.launch([refusal(503, [("Retry-After", "50")]), OK],
                    {"profile.default": {"total_timeout": "20s"}})
        answer = self.post()
        self.assert_status(answer, 503)
        self.assertEqual(answer.all("Retry-After"), ["50"])
        self.assert_seen(1)

    def test_a_backoff_past_the_deadline_is_not_begun(self):
        self.launch([refusal(503), OK], {"profile.default": {
            "total_timeout": "20s", "backoff_base": "50s"}})
        self.assert_status(self.post(), 503)
        self.assert_seen(1)


class Classes(FlowTest):
    """Requests that may have created something, and what status they may be repeated after."""

    def check(self, method, path, status, repeated):
        with self.subTest(method=method, path=path, status=status):
            self.launch([refusal(status), OK])
            answer = self.request(method, path, [JSON], b"{}")
            self.assert_status(answer, 200 if repeated else status)
            self.assert_seen(2 if repeated else 1)
            if not repeated and (status == 429 or status >= 500):
                self.assertEqual(answer.all("x-should-retry"), ["false"])

    def test_control_plane_writes_are_repeated_after_503_only(self):
        for method in ("POST", "PATCH", "PUT", "DELETE"):
            self.check(method, DEPLOYMENTS, 503, True)
            self.check(method, DEPLOYMENTS, 500, False)
        self.check("POST", DEPLOYMENTS, 429, False)
        self.check("POST", DEPLOYMENTS, 504, False)

    def test_responses_are_repeated_after_503_and_429(self):
        self.check("POST", RESPONSES, 503, True)
        self.check("POST", RESPONSES, 429, True)
        self.check("POST", RESPONSES, 500, False)

    def test_trainer_writes_are_never_repeated(self):
        for status in (503, 500, 429):
            self.check("POST", TRAINER, status, False)

    def test_no_spelling_slips_past_the_rules(self):
        self.check("POST", "/training/v1/x/../rlorTrainerJobs/a/j/step", 503, False)
        self.check("POST", "/training/v1/rlor%54rainerJobs/a/j/step", 503, False)
        self.check("POST", "/training//v1/rlorTrainerJobs/a/j/step", 503, False)
        self.check("POST", "/v1/accounts/a/x%3AexecuteTrainStep", 503, False)


if __name__ == "__main__":
    main()
