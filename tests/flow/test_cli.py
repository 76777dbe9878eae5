"""The command line and the configuration (CONTRACT 1 and 2)."""

import os
import re
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from certs import authority
from harness import FlowTest, base_config, main, merge, render, run_andiron
from upstream import JSON, reply

OK = reply(200, b'{"ok":true}', [JSON])
URL = "https://localhost:9"

# name: (lines of a file, the number of the line at fault, a word of the message)
MISTAKES = {
    "an unknown key": (["[server]", "lisen = 127.0.0.1:0"], 2, "lisen"),
    "an unknown section": (["[servr]", "workers = 2"], 1, "servr"),
    "a duration without a unit": (["[profile.default]", "total_timeout = 30"], 2, "total_timeout"),
    "a duration that is none": (["[profile.default]", "", "idle_timeout = no"], 3, "idle_timeout"),
    "a zero where it means nothing": (["[profile.default]", "max_attempts = 0"], 2, "max_attempts"),
    "a number out of range": (["[server]", "workers = 100000"], 2, "workers"),
    "a number that is none": (["[profile.default]", "max_attempts = five"], 2, "max_attempts"),
    "a size that is none": (["[server]", "max_body = 64MB"], 2, "max_body"),
    "an unknown word": (["[profile.default]", "jitter = some"], 2, "jitter"),
    "a status that is none": (["[profile.default]", "retry_statuses = 503 x"], 2, "retry_statuses"),
    "a key twice": (["[server]", "workers = 2", "workers = 3"], 3, ""),
    "a section twice": (["[server]", "workers = 2", "[log]", "[server]"], 4, ""),
    "a key before any section": (["workers = 2"], 1, ""),
    "a line that is nothing": (["[server]", "workers"], 2, ""),
    "an indented line": (["[server]", "workers = 2", "  max_body = 1MiB"], 3, ""),
    "an over-long line": (["[server]", "allow_hosts = " + "a" * 300], 2, ""),
    "an url without a scheme": (["[upstream.fireworks]", "url = api.fireworks.ai"], 2, "url"),
    "an url of another scheme": (["[upstream.fireworks]", "url = ftp://a.example"], 2, "url"),
    "plain http to elsewhere": (["[upstream.fireworks]", "url = http://a.example"], 2, "url"),
    "a missing key file": (["[upstream.fireworks]", "api_key_file = /nowhere/k"], 2, "/nowhere/k"),
    "a missing ca file": (["[upstream.fireworks]", "ca_file = /nowhere/ca"], 2, "/nowhere/ca"),
    "an unknown profile": (["[upstream.fireworks]", "profile = quick"], 2, "quick"),
    "a route to nowhere": (["[route.a]", "path = /*", "upstream = other"], 3, "other"),
    "an address that is none": (["[server]", "listen = here"], 2, "here"),
    "an address beyond loopback": (["[server]", "listen = 0.0.0.0:0"], 2, "listen"),
    "an event log that is no path": (["[log]", "events = events.jsonl"], 2, "events"),
}


class Check(FlowTest):
    def file(self, *lines):
        return self.write("a.ini", "\n".join(lines) + "\n")

    def test_the_defaults_are_good(self):
        done = run_andiron("check", "-c", self.file("# nothing"))
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertRegex(done.stdout, r"(?m)^max_attempts\s*=\s*5\b")
        self.assertIn("[profile.interactive]", done.stdout)

    def test_the_effective_configuration_is_printed(self):
        done = run_andiron("check", "-c", self.file(
            "[profile.default] ; a comment", "max_attempts = 7 ; another"))
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"(?m)^max_attempts\s*=\s*7\b")

    def test_what_is_printed_is_a_configuration(self):
        path = self.write("first.ini", render(merge(base_config(URL, "/tmp/e.jsonl"), {
            "route.a": {"path": "/inference/v1/*", "profile": "batch"}})))
        first = run_andiron("check", "-c", path)
        second = run_andiron("check", "-c", self.write("second.ini", first.stdout))
        self.assertEqual((second.returncode, second.stderr), (0, ""), first.stdout)
        self.assertEqual(first.stdout, second.stdout)

    def test_each_mistake_has_its_line(self):
        for name, (lines, number, word) in MISTAKES.items():
            with self.subTest(name):
                path = self.file(*lines)
                done = run_andiron("check", "-c", path)
                self.assertEqual(done.returncode, 1, done)
                self.assertRegex(done.stderr, rf"(?m)^{re.escape(path)}:{number}: .*", done)
                self.assertIn(word, done.stderr)
                self.assertNotIn(f"{path}:{number + 1}:", done.stderr)

    def test_all_mistakes_are_listed(self):
        path = self.file("[server]", "lisen = x", "workers = many", "[profile.default]",
                         "idle_timeout = 5", "[nothing]")
        for command, code in (("check", 1), ("run", 78)):
            with self.subTest(command):
                done = run_andiron(command, "-c", path)
                self.assertEqual(done.returncode, code, done)
                found = re.findall(rf"(?m)^{re.escape(path)}:(\d+): ", done.stderr)
                self.assertEqual(sorted(found), ["2", "3", "5", "6"], done.stderr)

    def test_a_missing_file(self):
        for command, code in (("check", 1), ("run", 78)):
            with self.subTest(command):
                done = run_andiron(command, "-c", "/nowhere/andiron.ini")
                self.assertIn(done.returncode, (code, 78), done)
                self.assertIn("/nowhere/andiron.ini", done.stderr)

    def test_a_key_file_that_others_can_read(self):
        for mode in (0o644, 0o640, 0o604):
            with self.subTest(mode=oct(mode)):
                key = self.write("key", "fw_canary\n", mode)
                path = self.file("[upstream.fireworks]", f"api_key_file = {key}")
                done = run_andiron("run", "-c", path)
                self.assertEqual(done.returncode, 78, done)
                self.assertIn(f"{path}:2: ", done.stderr)
                self.assertNotIn("fw_canary", done.stderr)

    def test_a_key_file_that_is_no_key(self):
        for name, text in (("empty", ""), ("two lines", "a\nb\n"), ("control bytes", "a\x01b")):
            with self.subTest(name):
                key = self.write("key", text)
                path = self.file("[upstream.fireworks]", f"api_key_file = {key}")
                self.assertEqual(run_andiron("run", "-c", path).returncode, 78)

    def test_flags_beat_the_environment_and_that_beats_the_file(self):
        path = self.file("[upstream.fireworks]", "url = https://file.example", "[server]",
                         "workers = 3")
        env = {"ANDIRON_UPSTREAM_FIREWORKS_URL": "https://environment.example",
               "ANDIRON_CONFIG": path}
        done = run_andiron("check", env=env)
        self.assertRegex(done.stdout, r"(?m)^url\s*=\s*https://environment.example", done)
        self.assertRegex(done.stdout, r"(?m)^workers\s*=\s*3\b", done)

    def test_an_unknown_variable_is_a_warning(self):
        done = run_andiron("check", "-c", self.file(""), env={"ANDIRON_SERVER_WORKER": "2"})
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("ANDIRON_SERVER_WORKER", done.stderr)


class Flags(FlowTest):
    def test_help_and_version(self):
        for arguments in (("--help",), ("--version",), ("help", "run"), ("help", "check")):
            with self.subTest(arguments):
                done = run_andiron(*arguments)
                self.assertEqual((done.returncode, done.stderr), (0, ""), done)
                self.assertIn("andiron", done.stdout)

    def test_the_version_names_what_it_is_built_on(self):
        done = run_andiron("--version")
        self.assertRegex(done.stdout, r"andiron \d+\.\d+")
        self.assertRegex(done.stdout, r"libevent 2\.\d+")

    def test_what_is_unknown_is_a_usage_error(self):
        for arguments in (("--no-such-flag",), ("run", "--no-such-flag"), ("nonsense",),
                          ("check", "-c"), ("run", "surplus")):
            with self.subTest(arguments):
                done = run_andiron(*arguments)
                self.assertEqual(done.returncode, 64, done)
                self.assertTrue(done.stderr.strip(), done)

    def test_flags_beat_the_file(self):
        upstream = self.scripted([OK])
        self.launch(upstream=upstream, arguments=["--upstream", upstream.url], config={
            "upstream.fireworks": {"url": "https://nowhere.invalid"}})
        self.assert_status(self.post(), 200)

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            path = self.write("a.ini", render(merge(base_config(URL, self.events_path), {
                "server": {"listen": f"127.0.0.1:{port}"}})))
            done = run_andiron("run", "-c", path)
        self.assertEqual(done.returncode, 69, done)
        self.assertIn(str(port), done.stderr)

    def test_a_second_daemon_does_not_share_the_port(self):
        self.launch([OK])
        path = self.write("b.ini", render(merge(base_config(URL, self.events_path), {
            "server": {"listen": f"127.0.0.1:{self.andiron.port}"}})))
        self.assertEqual(run_andiron("run", "-c", path).returncode, 69)

    def test_a_port_is_free_again_at_once(self):
        self.launch([OK])
        self.assert_status(self.post(), 200)
        port = self.andiron.port
        self.andiron.stop()
        self.launch([OK], {"server": {"listen": f"127.0.0.1:{port}"}})
        self.assert_status(self.post(), 200)

    def test_a_relative_ca_file_is_read(self):
        self.launch([OK], {"upstream.fireworks": {"ca_file": os.path.relpath(authority().ca)}})
        self.assert_status(self.post(), 200)


class Limits(FlowTest):
    def test_a_body_that_is_too_large(self):
        self.launch([OK], {"server": {"max_body": "64KiB"}})
        self.assert_status(self.post(body=bytes(65536)), 200)
        self.assert_status(self.post(body=bytes(65537)), 413)
        self.assert_status(self.post(body=bytes(5_000_000)), 413)
        self.assert_seen(1)

    def test_a_chunked_body_that_is_too_large(self):
        self.launch([OK], {"server": {"max_body": "64KiB"}})
        chunks = b"8000\r\n" + bytes(0x8000) + b"\r\n"
        answer = self.request("POST", "/v1/chat/completions", [("Transfer-Encoding", "chunked")],
                              chunks * 3 + b"0\r\n\r\n")
        self.assert_status(answer, 413)
        self.assert_seen(0)

    def test_it_is_refused_before_it_is_sent(self):
        self.launch([OK], {"server": {"max_body": "64KiB"}})
        client = self.connect()
        client.send_request("POST", "/v1/completions", [
            ("Content-Length", "10000000"), ("Expect", "100-continue")])
        self.assertEqual(client.read_head().status, 413)


if __name__ == "__main__":
    main()
