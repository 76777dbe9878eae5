"""No key comes to light: not in a log, an answer, /proc, or a core image (SECURITY.md).

Canaries are planted in every place where a key can come from, and looked for wherever something
comes out. One of each pair looks like a key of Fireworks, the other like nothing in particular, so
that it is known by where it stood and not by its looks."""

import glob
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from certs import authority
from harness import (BOUND, CHAT, COMPLETIONS, STREAM, FlowTest, is_sanitized, main, run_andiron)
from upstream import JSON, fin, head, reply, rst, send, sse

CONFIGURED = ("fw_canaryConfigured0123456789", "canary.configured/of-no=known+kind")
CLIENTS = ("fw_canaryClient9876543210abc", "client.canary+not/one=that-is_known")
SOURCES = ("file", "credential", "environment")


def pieces(key, size=16):
    """What betrays the key: any so many bytes of it."""
    return {key[at:at + size] for at in range(len(key) - size + 1)}


def bearer(key):
    return ("Authorization", "Bearer " + key)


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class SecretTest(FlowTest):
    def source(self, name, key):
        """Changes of the configuration, and an environment, with the key at this source."""
        if name == "file":
            path = self.write("key", key + "\n")
            return {"upstream.fireworks": {"api_key_file": path}}, {}
        if name == "credential":
            self.write("fireworks_api_key", key + "\n", 0o400)
            return {}, {"CREDENTIALS_DIRECTORY": self.folder}
        return {}, {"FIREWORKS_API_KEY": key}

    def assert_secret(self, text, where, keys=CONFIGURED + CLIENTS):
        text = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        for key in keys:
            found = sorted(piece for piece in pieces(key) if piece.encode() in text)
            if found:
                self.fail(f"of the key {key} there is in {where}: {found[0]}, {len(found)} pieces")

    def read(self, path):
        with open(path, "rb") as source:
            return source.read()


def echo(request):
    """What the upstream has seen, in all that andiron reads of an answer."""
    keys = [value for name, value in request.headers
            if name.lower() in ("authorization", "x-api-key")]
    said = " ".join(keys) + " " + request.target
    error = '{"error":{"message":"wrong key %s","type":"%s","code":"%s"}}' % (
        said, keys[-1] if keys else "", keys[-1] if keys else "")
    fields = [JSON, ("x-ratelimit-key", said), ("fireworks-key", said), ("x-request-id", said)]
    return error.encode(), fields


def act(request):
    """The upstream's part: `X-Act` names what it does; all its errors say what it has seen."""
    return play(request, *echo(request))


def act_quietly(request):
    """The same, by an upstream that does not repeat keys."""
    return play(request, b'{"error":{"message":"no","type":"no","code":"no"}}', [JSON])


def play(request, error, fields):
    answers = {
        "401": reply(401, error, fields),
        "503": reply(503, error, fields),
        "fin": [fin],
        "rst": [rst],
        "garbage": [send(b"nothing that is HTTP\r\n\r\n"), fin],
        "early": sse(b"data: %s\n\n" % error),
        "late": sse(b'data: {"choices":[{}]}\n\n', b"event: error\ndata: %s\n\n" % error),
        "cut": sse(b'data: {"choices":[{}]}\n\n', fin),
    }
    asked = next((value for name, value in request.headers if name == "X-Act"), "")
    return answers.get(asked) or reply(200, b'{"ok":true}', [JSON])


ACTS = ("", "401", "503", "fin", "rst", "garbage", "early", "late", "cut")


class Logs(SecretTest):
    def ask(self, path, body, headers):
        """One request; what andiron itself says must not hold a key. An upstream's words go
        through as they are, also where they come as an event with a status of 200."""
        answer = self.post(path, body, [("X-Andiron-Max-Attempts", "2")] + headers)
        if answer.header("X-Andiron-Source") == "andiron" and ("X-Act", "early") not in headers:
            self.assert_secret(str(answer.headers) + str(answer.body), f"the answer to {path} {headers}")

    def talk(self, client_key):
        """Requests that go well, fail in each way, or are refused, with a key in each place."""
        keys = ([bearer(client_key)], [("x-api-key", client_key)])
        for what in ACTS:
            body = STREAM if what in ("early", "late", "cut") else CHAT
            self.ask(COMPLETIONS, body, [("X-Act", what)] + keys[len(what) % 2])
        for path in (f"?Authorization={client_key}", f"?a=b&api_key={client_key}"):
            for what in ("401", "fin", ""):
                self.ask(COMPLETIONS + path, CHAT, [("X-Act", what)])
            self.ask("/nowhere" + path, CHAT, keys[0])
            self.ask("/v1/models%%00" + path, CHAT, keys[0])
        for field in (("Origin", "http://evil.example"), ("X-Andiron-Profile", "nosuch"),
                      ("X-Andiron-Timeout", "never"), ("Host", "evil.example"),
                      ("X-Long", "x" * 100000)):
            self.ask(COMPLETIONS, CHAT, keys[0] + [field] + keys[1])

    def talk_nonsense(self, client_key):
        """What the guard refuses, with the key in front of the mistake and behind it."""
        key = f"Authorization: Bearer {client_key}\r\n".encode()
        for wrong in (b"X-A: \x01\r\n", b"no colon\r\n", b" folded\r\n", b"X-A: " + b"x" * 99999,
                      b"Content-Length: 1\r\nContent-Length: 2\r\n"):
            for lines in (key + wrong, wrong + key):
                client = self.connect()
                client.send(b"POST /v1/x?api_key=" + client_key.encode() + b" HTTP/1.1\r\n"
                            b"Host: localhost\r\n" + lines + b"\r\n")
                answer = client.read_head()
                self.assertGreaterEqual(answer.status, 400)
                self.assert_secret(str(answer.headers) + str(answer.body), "a refusal")
                client.fin()

    def keep_quiet(self, source, which, log):
        key, client_key = CONFIGURED[which], CLIENTS[which]
        config, env = self.source(source, key)
        config["log"] = {"level": "debug", "body_bytes": "4KiB"} | log
        out = os.path.join(self.folder, f"out-{source}-{which}")
        with open(out, "wb") as stdout:
            self.launch(act, config, env, stdout=stdout)
        self.talk(client_key)
        self.talk_nonsense(client_key)
        for name in ("cmdline", "environ"):
            self.assert_secret(self.read(f"/proc/{self.andiron.pid}/{name}"), name)
        self.assertNotIn(b"FIREWORKS_API_KEY", self.read(f"/proc/{self.andiron.pid}/environ"))
        self.andiron.stop()
        said = self.read(out)
        if os.path.exists(self.events_path):
            said += self.read(self.events_path)
        self.assertGreater(said.count(b"\n"), 30, "there was a log to look at")
        self.assert_secret(said, f"the event log, key of {source}")
        self.assert_secret(self.andiron.stderr(), f"stderr, key of {source}")

    def test_no_log_has_a_key(self):
        for source in SOURCES:
            for which in (0, 1):
                with self.subTest(source=source, which=which):
                    self.keep_quiet(source, which, {})

    def test_no_text_log_has_a_key(self):
        for which in (0, 1):
            with self.subTest(which=which):
                self.keep_quiet("file", which, {"format": "text", "events": "stdout"})

    def test_no_failure_without_an_answer_has_a_key(self):
        config, env = self.source("file", CONFIGURED[1])
        config["log"] = {"level": "debug"}
        refused = self.scripted(act)
        refused.url = f"https://localhost:{unused_port()}"
        for upstream in (refused, self.scripted(act, tls="wrong_name"),
                         self.scripted(act, tls="expired")):
            self.launch(config=config, env=env, upstream=upstream)
            for key in CLIENTS:
                self.ask(COMPLETIONS + f"?api_key={key}", CHAT, [bearer(key)])
            self.andiron.stop()
            self.assert_secret(self.read(self.events_path), "the event log")
            self.assert_secret(self.andiron.stderr(), "stderr")

    def test_what_was_redacted_is_still_a_message(self):
        config, env = self.source("file", CONFIGURED[1])
        self.launch(act, config | {"log": {"body_bytes": "4KiB"}}, env)
        self.post(headers=[("X-Act", "401")])
        event = self.wait_event(event="attempt", status=401)
        self.assertIn("wrong key Bearer ****", event["body"])
        self.assertIn(COMPLETIONS, event["body"])

    def test_check_shows_none(self):
        self.upstream = self.scripted()
        for source in SOURCES:
            for key in CONFIGURED:
                config, env = self.source(source, key)
                done = run_andiron("check", "-c", self.write_config(config), env=env)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assert_secret(done.stdout + done.stderr, "check")

    def test_a_key_in_the_place_of_its_file_is_not_repeated(self):
        self.upstream = self.scripted()
        path = self.write_config({"upstream.fireworks": {"api_key_file": CONFIGURED[0]}})
        for command in ("check", "run"):
            done = run_andiron(command, "-c", path)
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, r"andiron\.ini:\d+: api_key_file: this is a key")
            self.assert_secret(done.stdout + done.stderr, command)


class Sources(SecretTest):
    def warning(self, **env):
        self.upstream = self.scripted()
        done = run_andiron("check", "-c", self.write_config(),
                           env={"FIREWORKS_API_KEY": CONFIGURED[0]} | env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def test_a_service_with_the_key_in_its_environment_is_warned(self):
        self.assertRegex(self.warning(CREDENTIALS_DIRECTORY="/nonexistent"),
                         "FIREWORKS_API_KEY: warning: .*LoadCredential")

    def test_nobody_else_is(self):
        self.assertEqual(self.warning(), "")
        # A desktop's terminal is a service, and what it starts inherits this.
        self.assertEqual(self.warning(INVOCATION_ID="a" * 32, SYSTEMD_EXEC_PID="1"), "")

    def test_systemd_names_the_process_that_it_has_started(self):
        self.upstream = self.scripted()
        path = self.write_config()
        done = subprocess.run(
            ["/bin/sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$0" check -c "$1"',
             os.environ.get("ANDIRON") or run_andiron.__globals__["BINARY"], path],
            env={"FIREWORKS_API_KEY": CONFIGURED[0], "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=BOUND)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("LoadCredential", done.stderr)

    def test_the_order_of_the_sources(self):
        config, _ = self.source("file", "of-the-file")
        _, env = self.source("credential", "of-the-credential")
        env["FIREWORKS_API_KEY"] = "of-the-environment"
        for changes, name, want in ((config, "fireworks", "of-the-file"),
                                    ({}, "fireworks", "of-the-credential")):
            with self.subTest(want=want):
                self.launch(lambda request: reply(200, b"{}", [JSON]), changes, env)
                self.assert_status(self.post(headers=[bearer("fw_own")]), 200)
                self.assertIn(bearer(want), self.upstream.requests[-1].headers)
                self.andiron.stop()
        del env["CREDENTIALS_DIRECTORY"]
        self.launch(lambda request: reply(200, b"{}", [JSON]), {}, env)
        self.assert_status(self.post(), 200)
        self.assertIn(bearer("of-the-environment"), self.upstream.requests[-1].headers)


@unittest.skipIf(is_sanitized(), "a sanitizer's memory is its own")
class Images(SecretTest):
    def image(self):
        """What a debugger of root's sees of the whole process."""
        target = os.path.join(self.folder, "image")
        done = subprocess.run(["gcore", "-o", target, str(self.andiron.pid)], timeout=3 * BOUND,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        path = f"{target}.{self.andiron.pid}"
        self.assertTrue(os.path.exists(path), done.stdout + done.stderr)
        image = self.read(path)
        os.unlink(path)
        self.assertTrue(self.events_path.encode() in image, "the image has the program's memory")
        return image

    def use(self, rounds):
        for _ in range(rounds):
            for what in ACTS:
                body = STREAM if what in ("early", "late", "cut") else CHAT
                self.post(COMPLETIONS + "?x=y", body,
                          [("X-Act", what), ("X-Andiron-Max-Attempts", "2")])

    @unittest.skipUnless(shutil.which("gcore") and os.geteuid() == 0, "needs gdb, as root")
    def test_at_rest_the_configured_key_is_in_no_image(self):
        for source, tls in zip(SOURCES, ("server", None, "server")):
            with self.subTest(source=source, tls=tls):
                config, env = self.source(source, CONFIGURED[1])
                self.launch(config=config, env=env,
                            upstream=self.scripted(act_quietly, tls=tls))
                self.assert_secret(self.image(), "the image before", CONFIGURED)
                self.use(3)
                self.wait_event(event="request", count=3 * len(ACTS))
                self.assert_secret(self.image(), "the image after", CONFIGURED)
                self.andiron.stop()

    def dumps(self):
        return glob.glob(os.path.join(self.folder, "core*"))

    def test_a_crash_leaves_no_core(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, (soft, hard))
        config, env = self.source("file", CONFIGURED[0])
        self.launch(act, config, env, cwd=self.folder)
        with open(f"/proc/{self.andiron.pid}/limits") as limits:
            core = next(line for line in limits if line.startswith("Max core file size"))
        self.assertEqual(core.split()[4:6], ["0", "0"])
        self.assert_status(self.post(), 200)
        self.andiron.expected = -signal.SIGABRT
        self.andiron.signal(signal.SIGABRT)
        self.andiron.stop()
        self.assertEqual(self.dumps(), [])

    def test_its_memory_is_not_for_others_of_the_same_user(self):
        self.launch(act)
        owner = os.stat(f"/proc/{self.andiron.pid}/environ").st_uid
        self.assertEqual(owner, 0)
        if os.geteuid() == 0:
            return
        with self.assertRaises(PermissionError):
            self.read(f"/proc/{self.andiron.pid}/environ")


class Destination(SecretTest):
    """Where a key may go: to the configured upstream, and nowhere that an answer names."""

    def test_a_redirect_goes_back_as_it_is(self):
        other = self.scripted(lambda request: reply(200, b"{}", [JSON]), tls=None)
        place = ("Location", other.url + "/v1/elsewhere")
        config, env = self.source("file", CONFIGURED[0])
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status=status):
                self.launch([reply(status, b"moved", [place])], config, env)
                answer = self.post()
                self.assert_status(answer, status)
                self.assertEqual(answer.all("Location"), [place[1]])
                self.assertEqual(answer.body, b"moved")
                self.assertEqual(answer.header("X-Andiron-Source"), "upstream")
                self.assert_attempts(answer, 1)
                self.andiron.stop()
        self.assertEqual(len(other.connections), 0)

    def test_no_request_chooses_it(self):
        other = self.scripted(lambda request: reply(200, b"{}", [JSON]), tls=None)
        config, env = self.source("file", CONFIGURED[0])
        self.launch(lambda request: reply(200, b"{}", [JSON]), config, env)
        self.post(COMPLETIONS, b'{"api_base":"%s","base_url":"%s"}' % (
            other.url.encode(), other.url.encode()))
        self.request("GET", f"{other.url}/v1/models")
        self.request("GET", "/v1/models", [("Host", other.authority)])
        self.request("GET", f"/v1/models?url={other.url}", [("X-Forwarded-Host", other.authority),
                                                             ("Forwarded", "host=evil.example")])
        self.request("GET", "//evil.example/v1/models")
        self.request("GET", f"/v1/@{other.authority}/models")
        self.assertEqual(len(other.connections), 0)
        for request in self.upstream.requests:
            self.assertEqual([value for name, value in request.headers if name == "Host"],
                             [self.upstream.authority])

    def test_an_upstream_that_is_andiron_itself_is_an_error(self):
        listen = "127.0.0.1:18787 [::1]:18788"
        for url in ("http://127.0.0.1:18787", "http://localhost:18787", "http://LOCALHOST:18788",
                    "http://[::1]:18788", "https://0.0.0.0:18787", "https://[::]:18788",
                    "https://[::ffff:127.0.0.1]:18787", "https://127.0.0.1:18787"):
            path = self.write("self.ini", f"[server]\nlisten = {listen}\n"
                              f"[upstream.fireworks]\nurl = {url}\n")
            with self.subTest(url=url):
                done = run_andiron("check", "-c", path)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertRegex(done.stderr, r"self\.ini:4: url: .* is andiron itself")
        for url in ("http://127.0.0.1:18788", "http://127.0.0.2:18787", "http://[::1]:18787"):
            path = self.write("self.ini", f"[server]\nlisten = {listen}\n"
                              f"[upstream.fireworks]\nurl = {url}\n")
            self.assertEqual(run_andiron("check", "-c", path).returncode, 0, url)


if __name__ == "__main__":
    main()
