"""The process among others: descriptors, signals, log rotation."""

import fcntl
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import termios

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BINARY, BOUND, FlowTest, clean_environment, main
from upstream import JSON, reply

OK = reply(200, b"{}", [JSON])


class Process(FlowTest):
    def test_out_of_descriptors_it_waits_in_silence(self):
        """Who is let in is served; the others are when somebody leaves."""
        self.launch([OK] * 3, {"server": {"workers": "1"}})
        self.assert_status(self.post(), 200)
        resource.prlimit(self.andiron.pid, resource.RLIMIT_NOFILE, (40, 40))
        waiting = [self.connect() for _ in range(60)]
        kept = waiting[0]
        self.assert_status(kept.request("GET", "/v1/models"), 200)
        for client in waiting[1:55]:
            client.fin()
        self.assert_status(waiting[-1].request("GET", "/v1/models"), 200)
        self.assertNotIn("accept", self.andiron.stderr(), "libevent complains in a loop")

    def test_a_signal_while_the_workers_still_start(self):
        """Their descriptors are theirs before they run: the daemon closes its own when it drains."""
        for _ in range(10):
            self.launch([], {"server": {"workers": "8"}})
            self.andiron.stop()
            self.assertNotIn("libevent", self.andiron.stderr())

    def test_a_rotated_log_is_opened_again(self):
        self.launch([OK] * 2)
        self.assert_status(self.post(), 200)
        self.wait_event(event="request")
        os.rename(self.events_path, self.events_path + ".1")
        self.andiron.signal(signal.SIGUSR1)
        self.assert_status(self.post(), 200)
        self.wait_event(event="request")
        with open(self.events_path + ".1") as rotated:
            self.assertEqual(rotated.read().count('"event":"request"'), 1)

    def test_a_log_that_cannot_be_opened_again_is_told(self):
        self.launch([OK] * 2)
        self.assert_status(self.post(), 200)
        self.wait_event(event="request")
        os.rename(self.events_path, self.events_path + ".1")
        os.mkdir(self.events_path)
        self.andiron.signal(signal.SIGUSR1)
        self.assert_status(self.post(), 200)
        self.andiron.wait_line(f"cannot open {re.escape(self.events_path)} again: Is a directory")
        os.rmdir(self.events_path)
        os.rename(self.events_path + ".1", self.events_path)
        self.wait_event(event="request", count=2)

    def test_it_ends_with_its_terminal(self):
        """SIGHUP is a reload, but not that of a window that is closed: nobody could end it any more."""
        terminal, other_end = pty.openpty()
        process = subprocess.Popen([BINARY, "run", "--listen", "127.0.0.1:0", "--admin", "off"], stdin=other_end,
                                   stdout=other_end, stderr=other_end, start_new_session=True, env=clean_environment(),
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.addCleanup(lambda: process.poll() is None and process.kill())
        os.close(other_end)
        said = b""
        while b"change api_key" not in said:
            said += os.read(terminal, 4096)
        process.send_signal(signal.SIGHUP)      # by hand, while the window is there
        while b"reloaded: " not in said:
            said += os.read(terminal, 4096)
        os.close(terminal)
        self.assertEqual(process.wait(BOUND), 0)

    def test_a_client_that_takes_nothing_is_cut(self):
        big = reply(200, bytes(20 << 20), [("Content-Type", "application/octet-stream")])
        self.launch([big], {"server": {"send_timeout": "300ms"}})
        client = self.connect(receive_buffer=4096)
        client.send_request("GET", "/v1/models")
        event = self.wait_event(event="request", error="client_closed")
        self.assertEqual(event["phase"], "client")
        self.assertIn("send_timeout", event["detail"])
        self.upstream.connections[0].wait_end()

    def test_an_idle_connection_is_closed_after_its_time(self):
        self.launch([OK], {"server": {"idle_timeout": "1s"}})
        client = self.connect()
        self.assert_status(client.request("GET", "/v1/models"), 200)
        self.assertEqual(client.read_end(), (b"", "cut"))


if __name__ == "__main__":
    main()
