"""Whose key goes to the upstream, and that no key comes to light (CONTRACT 3, Whose key)."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from certs import authority
from harness import CHAT, COMPLETIONS, FlowTest, main, run_andiron
from upstream import JSON, fin, reply, sse

OK = reply(200, b'{"ok":true}', [JSON])
FILE_KEY = "fw_canaryfile0123456789"
ENV_KEY = "fw_canaryenv0123456789"
CLIENT_KEY = "fw_canaryclient0123456789"
KEY_HEADERS = ("authorization", "x-api-key")


class Keys(FlowTest):
    def start(self, key_file=None, env_key=None):
        config = {}
        if key_file:
            path = self.write("key", key_file + "\n")
            config = {"upstream.fireworks": {"api_key_file": path}}
        env = {"FIREWORKS_API_KEY": env_key} if env_key else {}
        self.launch(lambda request: OK, config, env)

    def keys_sent(self, *headers):
        """What the upstream sees when a client sends these: sorted (name, key) pairs."""
        self.assert_status(self.post(headers=list(headers)), 200)
        request = self.upstream.requests[-1]
        return sorted((name.lower(), value) for name, value in request.headers
                      if name.lower() in KEY_HEADERS)

    def test_the_key_file_replaces_every_key(self):
        self.start(key_file=FILE_KEY)
        bearer = ("authorization", "Bearer " + FILE_KEY)
        for sent in ([], [("Authorization", "Bearer " + CLIENT_KEY)],
                     [("x-api-key", CLIENT_KEY)],
                     [("X-Api-Key", CLIENT_KEY), ("authorization", "Bearer " + CLIENT_KEY)],
                     [("Authorization", "Basic abc")]):
            with self.subTest(sent=sent):
                seen = self.keys_sent(*sent)
                self.assertIn(seen, ([bearer], [bearer, ("x-api-key", FILE_KEY)],
                                     [("x-api-key", FILE_KEY)]))

    def test_the_environments_key_helps_clients_without_one(self):
        self.start(env_key=ENV_KEY)
        self.assertEqual(self.keys_sent(), [("authorization", "Bearer " + ENV_KEY)])
        for stub in ("andiron", "sk-anything", "sk-proj-1234"):
            with self.subTest(stub=stub):
                seen = self.keys_sent(("Authorization", "Bearer " + stub))
                self.assertEqual(seen, [("authorization", "Bearer " + ENV_KEY)])
                seen = self.keys_sent(("x-api-key", stub))
                self.assertTrue(seen)
                self.assertNotIn(stub, str(seen))
                self.assertIn(ENV_KEY, str(seen))

    def test_the_environments_key_does_not_replace_a_real_one(self):
        self.start(env_key=ENV_KEY)
        for name, value in (("authorization", "Bearer fw_client123"), ("x-api-key", "fw_client123"),
                            ("authorization", "Bearer fpk_client123")):
            with self.subTest(name=name):
                self.assertEqual(self.keys_sent((name, value)), [(name, value)])

    def test_the_key_file_beats_the_environment(self):
        self.start(key_file=FILE_KEY, env_key=ENV_KEY)
        self.assertEqual(self.keys_sent(), [("authorization", "Bearer " + FILE_KEY)])

    def test_without_any_the_clients_goes_through(self):
        self.start()
        self.assertEqual(self.keys_sent(), [])
        for name, value in (("authorization", "Bearer sk-theirs"), ("x-api-key", "andiron")):
            with self.subTest(name=name):
                self.assertEqual(self.keys_sent((name, value)), [(name, value)])

    def test_the_environments_key_is_for_the_upstream_named_fireworks(self):
        upstream = self.scripted([OK])
        self.launch(upstream=upstream, env={"FIREWORKS_API_KEY": ENV_KEY}, config={
            "upstream.fireworks": None,
            "upstream.other": {"url": upstream.url, "ca_file": authority().ca}})
        self.assertEqual(self.keys_sent(), [])


class Secrets(FlowTest):
    CANARIES = (FILE_KEY, ENV_KEY, CLIENT_KEY)

    def assert_secret(self, text, where):
        for canary in self.CANARIES:
            self.assertNotIn(canary, text, f"a key is in {where}")

    def talk(self):
        """Requests that go well, fail, break, and are refused; each with a key."""
        key = [("Authorization", "Bearer " + CLIENT_KEY), ("x-api-key", CLIENT_KEY)]
        for path in (COMPLETIONS, COMPLETIONS + "?Authorization=" + CLIENT_KEY,
                     "/nowhere?key=" + CLIENT_KEY):
            for extra in ([], [("Origin", "http://evil.example")], [("X-Andiron-Profile", "no")]):
                for body in (CHAT, b'{"stream":true}'):
                    answer = self.post(path, body, key + extra)
                    self.assert_secret(str(answer.headers) + str(answer.body), "an answer")

    def test_no_key_comes_to_light(self):
        answers = [OK, reply(503), [fin], sse(b"data: {}\n\n", fin), reply(400, b"{}")]
        self.launch(lambda request: answers[len(self.upstream.requests) % 5],
                    {"log": {"level": "debug"},
                     "upstream.fireworks": {"api_key_file": self.write("key", FILE_KEY)}},
                    {"FIREWORKS_API_KEY": ENV_KEY})
        self.talk()
        self.andiron.wait_event(event="request", count=10)
        self.andiron.stop()
        with open(self.events_path) as log:
            self.assert_secret(log.read(), "the event log")
        self.assert_secret(self.andiron.stderr(), "stderr")

    def test_check_masks_them(self):
        self.upstream = self.scripted()
        path = self.write_config({"upstream.fireworks": {
            "api_key_file": self.write("key", FILE_KEY)}})
        done = run_andiron("check", "-c", path, env={"FIREWORKS_API_KEY": ENV_KEY})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_secret(done.stdout + done.stderr, "the output of check")


if __name__ == "__main__":
    main()
