"""TLS towards the upstream: what is offered, what is refused, what is resumed."""

import os
import ssl
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import FlowTest, main
from upstream import JSON, reply

CLOSING = reply(200, b"{}", [JSON, ("Connection", "close")])


class Tls(FlowTest):
    def launch_with(self, lowest, highest, answers):
        upstream = self.scripted(answers)
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1: that is the point
        upstream.context.minimum_version, upstream.context.maximum_version = lowest, highest
        upstream.context.set_ciphers("ALL:@SECLEVEL=0")
        self.launch(upstream=upstream, config={"server": {"workers": "1"}, "profile.default": {"max_attempts": "1"}})

    def check_resumption(self, version):
        self.launch_with(version, version, [CLOSING] * 4)
        for _ in range(4):
            self.assert_status(self.post(), 200)
        connections = self.upstream.wait_connections(4)
        self.assertEqual([connection.resumed for connection in connections], [False, True, True, True])
        for connection in connections:
            connection.wait_end()
        self.assertEqual([connection.problem for connection in connections], [None] * 4)

    def test_a_session_of_tls_1_3_is_resumed(self):
        self.check_resumption(ssl.TLSVersion.TLSv1_3)

    def test_a_session_of_tls_1_2_is_resumed(self):
        self.check_resumption(ssl.TLSVersion.TLSv1_2)

    def test_the_name_is_asked_for(self):
        self.launch([CLOSING])
        self.assert_status(self.post(), 200)
        self.assertEqual(self.upstream.connections[-1].server_name, "localhost")

    def test_tls_1_1_is_refused(self):
        self.launch_with(ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1, [CLOSING])
        self.assert_error(self.post(), 502)
        event = self.wait_event(event="attempt")
        self.assertEqual((event["phase"], event["dashboard"]), ("tls", "invisible"))
        self.assertIn(event["error"], ("tls_protocol_error", "tls_alert_received"))
        self.assert_seen(0)


if __name__ == "__main__":
    main()
