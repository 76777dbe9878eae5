"""andiron demo: a simulated Fireworks behind it, no key and no network (CONTRACT 1)."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import CHAT, COMPLETIONS, STREAM, Andiron, FlowTest, main


class Demo(FlowTest):
    def setUp(self):
        super().setUp()
        self.upstream = None
        self.andiron = Andiron(["demo", "--listen", "127.0.0.1:0"])
        self.addCleanup(self.andiron.stop)
        self.andiron.wait_listening()

    def seen(self):
        return self.andiron.stderr()

    def test_models_are_listed(self):
        answer = self.request("GET", "/v1/models")
        self.assert_status(answer, 200)
        self.assertTrue(answer.json()["data"][0]["id"])

    def test_a_chat_is_answered(self):
        answer = self.post(COMPLETIONS, CHAT)
        self.assert_status(answer, 200)
        self.assertTrue(answer.json()["choices"][0]["message"]["content"])

    def test_a_stream_is_answered(self):
        answer = self.request("POST", COMPLETIONS, [], STREAM)
        self.assert_status(answer, 200)
        self.assert_end(answer)
        events = [event for event in answer.body.split(b"\n\n") if event.startswith(b"data: ")]
        self.assertEqual(events[-1], b"data: [DONE]", repr(answer))
        first = json.loads(events[0][len(b"data: "):])
        self.assertIn("choices", first)

    def test_a_stream_of_messages_is_answered(self):
        """As Anthropic's SDKs ask for it."""
        answer = self.request("POST", "/v1/messages", [], STREAM)
        self.assert_status(answer, 200)
        self.assert_end(answer)
        events = [event for event in answer.body.split(b"\n\n") if event.startswith(b"event: ")]
        data = [json.loads(event.split(b"\ndata: ")[1]) for event in events]
        self.assertEqual([data[0]["type"], data[-1]["type"]], ["message_start", "message_stop"], repr(answer))
        text = "".join(event["delta"]["text"] for event in data if event["type"] == "content_block_delta")
        self.assertIn("andiron", text)

    def test_many_requests_show_retries(self):
        attempts = []
        for _ in range(8):
            answer = self.post(COMPLETIONS, CHAT)
            attempts.append(int(answer.header("X-Andiron-Attempts")))
        self.assertGreater(max(attempts), 1, attempts)

    def test_it_ends_on_a_signal(self):
        self.andiron.stop()


if __name__ == "__main__":
    main()
