"""A real browser in front of andiron: what a page on another origin can do to it, and what one can
that may. The page runs its tries by itself and reports to the server that it came from, so that
nothing but Chromium is needed.

    /usr/bin/python3 tests/browser/test_browser.py          CHROMIUM: the browser (chromium)
"""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "flow"))

from harness import BOUND, FlowTest, clean_environment, main
from upstream import JSON, reply, sse

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
EVIL = "evil.test"          # a name that a page's owner can turn to any address
SECRET = "canarytext"       # what the upstream says: no page may see it
TOKEN = "canarytoken"

# Each try ends in a text that begins with "blocked" or "passed".
PAGE = """<!doctype html><title>tries</title><body><script>
const andiron = "%(andiron)s", socket = andiron.replace("http:", "ws:"), tries = {};
const chat = andiron + "/v1/chat/completions";
const body = JSON.stringify({model: "m", messages: []});
const post = (type, more) => async () => {
    const answer = await fetch(chat, {method: "POST", body, headers: {"Content-Type": type}, ...more});
    return "passed " + answer.status + " " + answer.type + " " + await answer.text();
};
const until = (what, good, bad) => new Promise(resolve => {
    what[good] = event => resolve("passed " + (event.data || ""));
    what[bad] = () => resolve("blocked");
});
tries.simple = post("text/plain");
tries.preflighted = post("application/json");
tries.opaque = post("text/plain", {mode: "no-cors"});
tries.credentials = post("text/plain", {credentials: "include"});
tries.get = async () => "passed " + await (await fetch(andiron + "/v1/models")).text();
tries.beacon = async () => navigator.sendBeacon(chat, body) ? "sent" : "blocked";
tries.image = () => {
    const image = new Image();
    const end = until(image, "onload", "onerror");
    image.src = andiron + "/v1/models";
    return end;
};
tries.script = () => {
    const script = document.createElement("script");
    const end = until(script, "onload", "onerror");
    script.src = andiron + "/v1/models";
    document.body.append(script);
    return end;
};
tries.form = () => new Promise(resolve => {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = "into";
    form.method = "POST"; form.action = chat; form.enctype = "text/plain"; form.target = "into";
    form.append(Object.assign(document.createElement("input"), {name: '{"model":"', value: '"}'}));
    document.body.append(frame, form);
    form.submit();
    frame.onload = () => {
        try { resolve("passed " + frame.contentDocument.body.innerText); }
        catch (_) { resolve("blocked: the frame is another origin's"); }
    };
});
tries.frame = () => new Promise(resolve => {
    const frame = document.createElement("iframe");
    frame.src = andiron + "/v1/models";
    frame.onload = () => {
        try { resolve("passed " + frame.contentDocument.body.innerText); }
        catch (_) { resolve("blocked: the frame is another origin's"); }
    };
    document.body.append(frame);
});
tries.events = () => {
    const source = new EventSource(andiron + "/v1/models");
    return until(source, "onmessage", "onerror").finally(() => source.close());
};
tries.websocket = () => until(new WebSocket(socket + "/v1/chat/completions"), "onopen", "onerror");
%(more)s
const report = (path, what) => fetch(path, {method: "POST", body: JSON.stringify(what)});
(async () => {
    const results = {};
    for (const name of %(run)s)
        results[name] = await tries[name]().catch(error => "blocked: " + error);
    await report("/report", results);
})();
</script>"""

# A stream, read bit by bit: the test lets it go on when the page has told of its first event.
STREAM = """
tries.stream = async () => {
    const answer = await fetch(chat, {method: "POST", body: JSON.stringify({model: "m", stream: true}),
        headers: {"Content-Type": "application/json", "X-Andiron-Token": "%s"}});
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("first")) text += (await reader.read()).value;
    await report("/first", text);
    for (let piece; !(piece = await reader.read()).done;) text += piece.value;
    return "passed " + answer.status + " " + text;
};
tries.error = async () => {
    const answer = await fetch(andiron + "/nowhere", {headers: {"X-Andiron-Token": "%s"}});
    return "passed " + answer.status + " " + answer.headers.get("X-Andiron-Source") + " " +
        (await answer.json()).error.code + " " + !!answer.headers.get("X-Request-Id");
};
tries.unknown = async () => {
    const answer = await fetch(chat, {method: "POST", body});
    return "passed " + answer.status + " " + (await answer.json()).error.message;
};
"""
ALL = ["simple", "preflighted", "opaque", "credentials", "get", "beacon", "image", "script", "form",
       "frame", "events", "websocket"]


class Site:
    """The server of the page, on a port of its own; what the page reports is kept."""

    def __init__(self):
        site = self
        self.page = ""
        self.reports = {}
        self.news = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = self.path == "/"
                text = site.page.encode() if found else b""
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_POST(self):
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()
                with site.news:
                    site.reports[self.path] = said
                    site.news.notify_all()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, path, bound):
        with self.news:
            if not self.news.wait_for(lambda: path in self.reports, bound):
                raise AssertionError(f"the page has not reported {path}: {self.reports}")
            return self.reports[path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@unittest.skipUnless(CHROMIUM, "there is no chromium")
class BrowserTest(FlowTest):
    def setUp(self):
        super().setUp()
        self.site = Site()
        self.addCleanup(self.site.close)

    def open(self, url):
        """A browser of its own. Its checks for local networks are off: what stops a page here must
        be andiron."""
        profile = os.path.join(self.folder, "profile")
        log = open(os.path.join(self.folder, "chromium.log"), "w")
        self.addCleanup(log.close)
        browser = subprocess.Popen([
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-extensions", "--disable-sync", "--no-proxy-server",
            "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,"
            "PrivateNetworkAccessSendPreflights,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
            f"--host-resolver-rules=MAP {EVIL} 127.0.0.1, EXCLUDE 127.0.0.1",
            f"--user-data-dir={profile}", url],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=clean_environment({"HOME": self.folder}))
        self.addCleanup(self.close, browser)

    @staticmethod
    def close(browser):
        browser.kill()
        browser.wait()

    def origin(self, host):
        return f"http://{host}:{self.site.port}"

    def run_tries(self, page_host, andiron_host, run, more=""):
        """What becomes of each try: a page of `page_host` turns to andiron by `andiron_host`."""
        self.site.page = PAGE % {"andiron": f"http://{andiron_host}:{self.andiron.port}",
                                 "more": more, "run": json.dumps(run)}
        self.open(self.origin(page_host) + "/")

    def assert_stopped(self, page_host, andiron_host):
        self.run_tries(page_host, andiron_host, ALL)
        results = self.site.wait("/report", 5 * BOUND)
        self.assertEqual(sorted(results), sorted(ALL))
        for name, result in results.items():
            with self.subTest(name=name):
                self.assertNotIn(SECRET, result)
                if name == "beacon":
                    continue                            # it never hears of an answer
                if name == "opaque":                    # sent, and refused unreadably
                    self.assertEqual(result, "passed 0 opaque ")
                else:
                    self.assertTrue(result.startswith("blocked"), result)
        # It was andiron that refused them: each of these came as a request and got 403.
        self.andiron.wait_event(event="request", status=403, method="OPTIONS")
        self.andiron.wait_event(event="request", status=403, method="POST", count=4)
        self.andiron.wait_event(event="request", status=403, method="GET", count=5)
        self.assertEqual(self.andiron.find_events(
            lambda event: event["event"] == "request" and event["status"] != 403), [])
        self.assert_seen(0)


class Strangers(BrowserTest):
    """Pages that may not: nothing reaches the upstream, and nothing can be read."""

    def start(self, **server):
        self.launch(lambda request: reply(200, SECRET.encode(), [
            JSON, ("Access-Control-Allow-Origin", "*")]), {"server": server})

    def test_a_page_of_another_port(self):
        self.start()
        self.assert_stopped("127.0.0.1", "127.0.0.1")

    def test_a_page_of_another_site(self):
        self.start()
        self.assert_stopped(EVIL, "127.0.0.1")

    def test_a_page_of_a_name_that_is_rebound(self):
        self.start()
        self.assert_stopped(EVIL, EVIL)

    def test_while_another_origin_may(self):
        self.start(allow_origins=f"https://app.example {self.origin('localhost')}")
        self.assert_stopped(EVIL, "127.0.0.1")

    def test_a_listed_origin_by_a_name_that_is_rebound(self):
        self.start(allow_origins=self.origin(EVIL))
        self.run_tries(EVIL, EVIL, ["simple", "get"])
        results = self.site.wait("/report", 5 * BOUND)
        self.assertNotIn(SECRET, str(results))
        self.assert_seen(0)


class Friends(BrowserTest):
    """A page whose origin is listed."""

    def test_calls_and_reads(self):
        self.launch(lambda request: reply(200, SECRET.encode(), [JSON]),
                    {"server": {"allow_origins": self.origin("127.0.0.1")}})
        run = ["simple", "preflighted", "get", "image", "frame", "credentials", "websocket"]
        self.run_tries("127.0.0.1", "127.0.0.1", run)
        results = self.site.wait("/report", 5 * BOUND)
        for name in ("simple", "preflighted"):
            self.assertEqual(results[name], f"passed 200 cors {SECRET}")
        self.assertEqual(results["get"], f"passed {SECRET}")
        # What carries no Origin, or the browser's own credentials, stays out all the same.
        for name in ("image", "frame", "credentials", "websocket"):
            self.assertTrue(results[name].startswith("blocked"), (name, results[name]))
        self.andiron.wait_event(event="request", status=204, method="OPTIONS")

    def test_streams_with_the_token(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.launch(lambda request: sse(b"data: first\n\n", gate, b"data: [DONE]\n\n"), {"server": {
            "allow_origins": self.origin("127.0.0.1"),
            "client_token_file": self.write("token", TOKEN)}})
        self.run_tries("127.0.0.1", "127.0.0.1", ["stream", "error", "unknown"],
                       STREAM % (TOKEN, TOKEN))
        self.assertEqual(self.site.wait("/first", 5 * BOUND), "data: first\n\n")
        gate.set()
        results = self.site.wait("/report", 5 * BOUND)
        self.assertEqual(results["stream"], "passed 200 data: first\n\ndata: [DONE]\n\n")
        self.assertEqual(results["error"], "passed 404 andiron destination_not_found true")
        self.assertTrue(results["unknown"].startswith("passed 401 andiron: this needs the client "
                                                      "token"), results["unknown"])
        self.assert_seen(1)


if __name__ == "__main__":
    main()
