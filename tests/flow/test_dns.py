"""Looking names up: real DNS packets, real /etc/hosts and /etc/resolv.conf.

The file runs itself again in mount and network namespaces of its own (root is needed), where port
53 is free and the two files can be the test's.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BOUND, CHAT, COMPLETIONS, FlowTest, main
from nameserver import (NameServer, a, aaaa, after, chain, forged_first, garbage, nodata, rcode,
                        record, silent, truncated)
from upstream import JSON, reply

INSIDE = "ANDIRON_TEST_DNS_NAMESPACE"
UNSHARE = ["unshare", "--mount", "--net"]
MS_BIND = 4096
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
# Each request comes on a connection of its own, so that addresses are needed each time.
OK = reply(200, b'{"ok":true}', [JSON, ("Connection", "close")])
NAME = "api.test"


# --- namespaces -------------------------------------------------------------------------------

def refuse_or_enter():
    """Becomes this file inside the namespaces."""
    if os.environ.get(INSIDE):
        return
    if os.geteuid() != 0:
        print("skipped: namespaces need root")
        sys.exit(77)        # meson's number for a skipped test
    tried = subprocess.run(UNSHARE + ["true"], capture_output=True, text=True)
    if tried.returncode != 0:
        print(f"skipped: it needs `{' '.join(UNSHARE)}`: {tried.stderr.strip()}")
        sys.exit(77)        # a chroot, or a container without that right
    os.environ[INSIDE] = "1"
    os.execvp(UNSHARE[0], UNSHARE + [sys.executable] + sys.argv)


def raise_loopback():
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16xH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[0]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def bind_mount(source, target):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, MS_BIND, None) != 0:
        raise OSError(ctypes.get_errno(), f"cannot mount over {target}")


def is_inside():
    """Not what the environment claims, but what is: another mount namespace than the parent's.
    Anywhere else a mount would hide the machine's own /etc/hosts."""
    if not os.environ.get(INSIDE):
        return False
    own, parents = (os.readlink(f"/proc/{pid}/ns/mnt") for pid in ("self", os.getppid()))
    return own != parents


def set_up_namespaces():
    if not is_inside():
        raise RuntimeError(f"{INSIDE} is set outside a mount namespace of its own")
    raise_loopback()
    folder = tempfile.TemporaryDirectory(prefix="andiron-dns-")
    for name in ("hosts", "resolv.conf"):
        open(os.path.join(folder.name, name), "w").close()
        bind_mount(os.path.join(folder.name, name), "/etc/" + name)
    return folder       # the mounts hold their files; the folder may go


def load_tests(loader, tests, _pattern):
    """Under discovery: the whole file as one test."""
    if os.environ.get(INSIDE):
        return tests

    class InNamespaces(unittest.TestCase):
        def test_dns(self):
            done = subprocess.run([sys.executable, os.path.abspath(__file__)],
                                  capture_output=True, text=True)
            if done.returncode == 77:
                self.skipTest("namespaces need root")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    return unittest.TestSuite([InNamespaces("test_dns")])


def setUpModule():
    global _folder
    if os.environ.get(INSIDE):      # unset under discovery, which calls this too
        _folder = set_up_namespaces()


def tearDownModule():
    if _folder:
        _folder.cleanup()


_folder = None


# --- what all cases share ---------------------------------------------------------------------

class DnsTest(FlowTest):
    def setUp(self):
        super().setUp()
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.hosts("")
        self.resolv_conf("127.0.0.1")

    def hosts(self, text):
        self.rewrite("/etc/hosts", text)

    def resolv_conf(self, *servers, more=""):
        self.rewrite("/etc/resolv.conf",
                     "".join(f"nameserver {ip}\n" for ip in servers) + more)

    def rewrite(self, path, text):
        with open(path, "w") as target:
            target.write(text)

    def nameserver(self, ip="127.0.0.1", **answers):
        server = NameServer(ip, **answers)
        self.addCleanup(server.close)
        return server

    def start(self, name=NAME, listening=True, **profile):
        upstream = self.scripted(lambda request: OK, listening=listening)
        url = f"https://{name}:{upstream.port}"
        profile.setdefault("max_attempts", "1")
        self.launch(upstream=upstream, config={
            "server": {"workers": "1", "drain_timeout": "200ms"},
            "upstream.fireworks": {"url": url}, "profile.default": profile})

    def succeed(self):
        answer = self.post()
        self.assert_status(answer, 200)
        self.assert_attempts(answer, 1)
        return self.wait_event(event="request", status=200)

    def families(self):
        return [connection.sock.family for connection in self.upstream.connections]

    def fail_with(self, error, *words):
        """One attempt; its event."""
        answer = self.post()
        message = self.assert_error(answer, 502, error)["message"]
        event = self.wait_event(event="attempt")
        self.assertEqual((event["phase"], event["error"], event["dashboard"]),
                         ("dns", error, "invisible"), event)
        for word in words:
            self.assertIn(word, event["detail"])
        self.assertGreaterEqual(self.wait_event(event="request")["total_ms"], 0)
        self.assertIn("never saw", message)
        self.assert_seen(0)
        return event

    def until(self, wanted, what):
        """Asks again and again until it is so."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            if wanted(self.post()):
                return
        self.fail(f"never: {what}")


# --- answers ----------------------------------------------------------------------------------

class Addresses(DnsTest):
    def test_a_only(self):
        server = self.nameserver(A=a("127.0.0.1"))
        self.start()
        event = self.succeed()
        self.assertGreaterEqual(event["dns_ms"], 0)
        self.assertEqual(self.families(), [socket.AF_INET])
        self.assertEqual(sorted(map(repr, server.questions)), ["api.test A", "api.test AAAA"])

    def test_aaaa_only(self):
        self.nameserver(AAAA=aaaa("::1"))
        self.start()
        self.assertGreaterEqual(self.succeed()["dns_ms"], 0)
        self.assertEqual(self.families(), [socket.AF_INET6])

    def test_of_both_ipv6_goes_first(self):
        self.nameserver(A=a("127.0.0.1"), AAAA=aaaa("::1"))
        self.start()
        self.succeed()
        self.assertEqual(self.families()[0], socket.AF_INET6)

    def test_ipv6_without_a_route_goes_last(self):
        self.nameserver(A=a("127.0.0.1"), AAAA=aaaa("2001:db8::1"))
        self.start()
        self.succeed()
        self.assertEqual(self.families(), [socket.AF_INET])

    def test_a_refused_ipv6_address_does_no_harm(self):
        self.nameserver(A=a("127.0.0.1"), AAAA=aaaa("::1"))
        upstream = self.scripted(lambda request: OK, listening=False)
        upstream._sockets[0].listen(5)
        upstream._spawn(upstream._accept, upstream._sockets[0])
        self.launch(upstream=upstream, config={"upstream.fireworks": {
            "url": f"https://{NAME}:{upstream.port}"}})
        self.succeed()

    def test_a_slow_aaaa_is_not_waited_for(self):
        self.nameserver(A=a("127.0.0.1"), AAAA=after(self.gate, aaaa("::1")))
        self.start()
        self.assertLess(self.succeed()["dns_ms"], 1900)     # before it would be asked again
        self.assertEqual(self.families(), [socket.AF_INET])

    def test_a_silent_aaaa_is_not_waited_for(self):
        self.nameserver(A=a("127.0.0.1"), AAAA=silent)
        self.start()
        self.assertLess(self.succeed()["dns_ms"], 1900)

    def test_a_slow_a_is_not_waited_for(self):
        self.nameserver(A=after(self.gate, a("127.0.0.1")), AAAA=aaaa("::1"))
        self.start()
        self.assertLess(self.succeed()["dns_ms"], 1900)
        self.assertEqual(self.families(), [socket.AF_INET6])

    def test_a_failure_of_one_family_does_not_spoil_the_other(self):
        for code in (FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED):
            for answers in ({"A": a("127.0.0.1"), "AAAA": rcode(code)},
                            {"A": rcode(code), "AAAA": aaaa("::1")}):
                with self.subTest(code, family=list(answers)):
                    server = NameServer(**answers)
                    try:
                        self.start()
                        self.succeed()
                    finally:
                        server.close()

    def test_a_late_family_is_waited_for_if_the_other_one_failed(self):
        gate = self.gate
        server = self.nameserver(A=after(gate, a("127.0.0.1")), AAAA=rcode(NXDOMAIN))
        self.start()
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [JSON], CHAT)
        server.wait_questions(2)
        gate.set()
        self.assert_status(client.read_head(), 200)

    def test_a_chain_of_cnames(self):
        names = ("edge.test", "a-very-long-name-of-a-cdn.somewhere.test")
        self.nameserver(A=chain(1, "127.0.0.1", *names), AAAA=chain(28, "::1", *names))
        self.start()
        self.succeed()

    def test_a_cname_without_addresses(self):
        def dangling(question):
            return [question.answer()]
        self.nameserver(A=dangling, AAAA=dangling)
        self.start()
        self.fail_with("dns_error", "NODATA")

    def test_no_more_than_sixteen_addresses_are_tried(self):
        others = [f"127.0.1.{i}" for i in range(39)]
        for place, status in ((15, 200), (16, 502)):
            with self.subTest(place):
                ips = others[:place] + ["127.0.0.1"] + others[place:]
                server = NameServer(A=a(*ips))
                try:
                    self.start()
                    self.assert_status(self.post(), status)
                finally:
                    server.close()

    def test_many_of_one_family_leave_room_for_the_other(self):
        self.nameserver(A=a("127.0.0.1"), AAAA=aaaa(*[f"2001:db8::{i}" for i in range(1, 21)]))
        self.start()
        self.succeed()

    def test_upper_case_names(self):
        server = self.nameserver(A=a("127.0.0.1"))
        self.start("API.Test")
        self.succeed()
        self.assertEqual({question.name for question in server.questions}, {NAME})

    def test_a_server_that_spells_its_answers_in_lower_case(self):
        def lower(question):
            question.section = question.section.lower()     # 28 and 1 have no lower case
            return a("127.0.0.1")(question)
        self.nameserver(A=lower)
        self.start()
        self.succeed()

    def test_answers_with_another_id_are_ignored(self):
        self.nameserver(A=forged_first(a("127.0.0.9"), a("127.0.0.1")),
                        AAAA=forged_first(rcode(NXDOMAIN), nodata))
        self.start()
        self.succeed()

    def test_each_question_has_its_own_port(self):
        """A port that stays the same makes forging easy."""
        ports = set()
        server = self.nameserver(A=a("127.0.0.1", ttl=0))
        answer = server._answer
        server._answer = lambda steps, peer: (ports.add(peer[1]), answer(steps, peer))
        self.start()
        self.until(lambda _: len(server.questions) >= 4, "two look-ups")
        self.assertGreater(len(ports), 1)


class Failures(DnsTest):
    def check(self, answer, error, *words):
        with self.subTest(words):
            server = NameServer(A=answer, AAAA=answer)
            try:
                self.start()
                event = self.fail_with(error, "name server 127.0.0.1: ", *words)
                self.assertGreaterEqual(event["dns_ms"], 0)
                self.assertEqual(event["detail"].count("127.0.0.1"), 1)
                self.assertEqual((server.count("A"), server.count("AAAA")), (1, 1))
            finally:
                server.close()

    def test_nxdomain(self):
        self.check(rcode(NXDOMAIN), "dns_error", "NXDOMAIN", "no such name")

    def test_nodata(self):
        self.check(nodata, "dns_error", "NODATA", "no such address")

    def test_servfail(self):
        self.check(rcode(SERVFAIL), "dns_error", "SERVFAIL")

    def test_refused(self):
        self.check(rcode(REFUSED), "dns_error", "REFUSED")

    def test_formerr_and_notimp(self):
        self.check(rcode(FORMERR), "dns_error", "FORMERR")
        self.check(rcode(NOTIMP), "dns_error", "NOTIMP")

    def test_a_code_that_evdns_does_not_know(self):
        self.check(rcode(9), "dns_error", "makes no sense")

    def test_a_truncated_answer(self):
        self.check(truncated, "dns_error", "truncated", "UDP")

    def test_garbage(self):
        self.check(garbage, "dns_error", "makes no sense")

    def test_an_address_record_without_an_address(self):
        def empty(question):
            return [question.answer([record(1 if question.type == "A" else 28, b"", 60)])]
        self.check(empty, "dns_error", "makes no sense")

    def test_both_families_are_told_where_they_differ(self):
        self.nameserver(A=rcode(SERVFAIL), AAAA=rcode(REFUSED))
        self.start()
        self.fail_with("dns_error", "SERVFAIL", "for AAAA", "REFUSED")

    def test_a_failure_counts_more_than_the_other_family_s_nodata(self):
        self.nameserver(A=nodata, AAAA=rcode(SERVFAIL))
        self.start()
        self.fail_with("dns_error", "SERVFAIL", "NODATA")

    def test_silence(self):
        server = self.nameserver(A=silent, AAAA=silent)
        self.start()
        event = self.fail_with("dns_timeout", "name server 127.0.0.1: no answer")
        self.assertGreaterEqual(event["dns_ms"], 5990)      # three times two seconds
        self.assertEqual((server.count("A"), server.count("AAAA")), (3, 3))

    def test_silence_is_ended_by_connect_timeout(self):
        self.nameserver(A=silent, AAAA=silent)
        self.start(connect_timeout="300ms")
        self.fail_with("dns_timeout", "connect_timeout")

    def test_a_server_that_cannot_be_reached(self):
        self.resolv_conf("192.0.2.1")       # there is no route in this namespace
        self.start()
        self.fail_with("dns_error", "192.0.2.1", "cannot be asked", "Network is unreachable")

    def test_it_is_repeated(self):
        server = self.nameserver(A=rcode(SERVFAIL), AAAA=rcode(SERVFAIL))
        self.start(max_attempts="8", backoff_base="300ms")
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [JSON], CHAT)
        self.wait_event(event="attempt", attempt=1, error="dns_error")
        server.A = a("127.0.0.1")
        self.assert_status(client.read_head(), 200)
        self.assert_seen(1)

    def test_names_that_dns_cannot_carry(self):
        self.start("x" * 64 + ".test")
        self.fail_with("dns_error", "cannot be asked")


class Servers(DnsTest):
    def test_the_next_one_is_asked_after_silence_and_then_kept(self):
        self.resolv_conf("127.0.0.1", "127.0.0.2")
        first = self.nameserver(A=silent, AAAA=silent)
        second = self.nameserver("127.0.0.2", A=a("127.0.0.1", ttl=1))
        self.start()
        self.assertGreaterEqual(self.succeed()["dns_ms"], 1990)
        self.until(lambda _: second.count("A") >= 2, "the addresses are looked up again")
        self.assertEqual(first.count("A"), 1)

    def test_the_next_one_is_asked_after_an_error(self):
        for code in (SERVFAIL, REFUSED, NOTIMP):
            with self.subTest(code):
                self.resolv_conf("127.0.0.1", "127.0.0.2")
                servers = [NameServer(A=rcode(code), AAAA=rcode(code)),
                           NameServer("127.0.0.2", A=a("127.0.0.1"))]
                try:
                    self.start()
                    self.assertLess(self.succeed()["dns_ms"], 1900)
                finally:
                    for server in servers:
                        server.close()

    def test_nxdomain_is_an_answer(self):
        self.resolv_conf("127.0.0.1", "127.0.0.2")
        self.nameserver(A=rcode(NXDOMAIN), AAAA=rcode(NXDOMAIN))
        second = self.nameserver("127.0.0.2", A=a("127.0.0.1"))
        self.start()
        event = self.fail_with("dns_error", "NXDOMAIN", "127.0.0.1")
        self.assertNotIn("127.0.0.2", event["detail"])
        self.assertEqual(second.questions, [])

    def test_each_one_is_told_with_what_it_said(self):
        self.resolv_conf("127.0.0.1", "127.0.0.2", "127.0.0.3")
        self.nameserver("127.0.0.1", A=rcode(REFUSED), AAAA=rcode(REFUSED))
        self.nameserver("127.0.0.2", A=rcode(SERVFAIL), AAAA=rcode(SERVFAIL))
        self.nameserver("127.0.0.3", A=rcode(REFUSED), AAAA=rcode(REFUSED))
        self.start()
        self.fail_with("dns_error", "name servers 127.0.0.1, 127.0.0.3: REFUSED",
                       "name server 127.0.0.2: SERVFAIL")

    def test_an_error_tells_more_than_silence(self):
        self.resolv_conf("127.0.0.1", "127.0.0.2")
        self.nameserver(A=silent, AAAA=silent)
        second = self.nameserver("127.0.0.2", A=rcode(SERVFAIL), AAAA=rcode(SERVFAIL))
        self.start()
        self.fail_with("dns_error", "127.0.0.1: no answer", "127.0.0.2: SERVFAIL")
        self.assertEqual(second.count("A"), 1)

    def test_an_empty_file_means_127_0_0_1(self):
        self.resolv_conf()
        self.nameserver(A=a("127.0.0.1"))
        self.start()
        self.succeed()

    def test_options_and_search_domains_do_not_matter(self):
        self.resolv_conf("127.0.0.1", more="search corp.example\noptions ndots:5 timeout:1 edns0\n")
        server = self.nameserver(A=rcode(NXDOMAIN), AAAA=rcode(NXDOMAIN))
        self.start()
        self.fail_with("dns_error", "NXDOMAIN")
        self.assertEqual({question.name for question in server.questions}, {NAME})

    def test_a_changed_file_is_noticed(self):
        first = self.nameserver(A=a("127.0.0.1", ttl=86400))
        second = self.nameserver("127.0.0.2", A=a("127.0.0.1", ttl=86400))
        self.start()
        self.succeed()
        self.resolv_conf("127.0.0.2")
        self.until(lambda _: second.questions, "the new name server is asked")
        self.assertEqual(len(first.questions), 2)

    def test_a_question_outlives_the_change_of_the_file(self):
        first = self.nameserver(A=silent)
        second = self.nameserver("127.0.0.2", A=a("127.0.0.1"))
        self.start()
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [JSON], CHAT)
        first.wait_questions(2)
        first.A = a("127.0.0.1", ttl=0)     # for the others, and when it is asked again
        self.resolv_conf("127.0.0.2")
        self.until(lambda _: second.questions, "the new name server is asked")
        self.assert_status(client.read_head(), 200)


class Hosts(DnsTest):
    def test_an_entry_wins(self):
        self.hosts(f"127.0.0.1 other {NAME.upper()} # here\n")
        server = self.nameserver(A=a("127.0.0.9"))
        self.start()
        self.succeed()
        self.assertEqual(server.questions, [])

    def test_an_entry_of_one_family_wins_over_both(self):
        self.hosts(f"::1 {NAME}\n")
        server = self.nameserver(A=a("127.0.0.9"))
        self.start()
        self.succeed()
        self.assertEqual(self.families(), [socket.AF_INET6])
        self.assertEqual(server.questions, [])

    def test_a_changed_file_is_noticed(self):
        self.hosts(f"127.0.0.9 {NAME}\n")
        self.start()
        self.assert_error(self.post(), 502, "connection_refused")
        self.hosts(f"127.0.0.1 {NAME}\n")
        self.until(lambda answer: answer.status == 200, "the new address is used")

    def test_an_entry_that_was_not_there_is_noticed(self):
        self.nameserver(A=a("127.0.0.9", ttl=86400))
        self.start()
        self.assert_error(self.post(), 502, "connection_refused")
        self.hosts(f"127.0.0.1 {NAME}\n")
        self.until(lambda answer: answer.status == 200, "the entry is used")

    def test_localhost_is_never_asked_for(self):
        server = self.nameserver(A=a("127.0.0.9"))
        self.hosts("127.0.0.9 localhost api.localhost\n")
        for name in ("localhost", "api.localhost", "API.LocalHost"):
            with self.subTest(name):
                self.start(name)
                self.succeed()
                self.assertEqual(self.families(), [socket.AF_INET])
        self.assertEqual(server.questions, [])


class Freshness(DnsTest):
    def test_a_long_ttl_is_asked_once_for_many_requests(self):
        server = self.nameserver(A=a("127.0.0.1", ttl=3600))
        self.start()
        for _ in range(10):
            self.assert_status(self.post(), 200)
        self.assertEqual((server.count("A"), server.count("AAAA")), (1, 1))

    def test_a_ttl_of_a_second_is_honoured(self):
        server = self.nameserver(A=a("127.0.0.1", ttl=1), AAAA=aaaa("::1", ttl=3600))
        self.start()
        self.until(lambda _: server.count("A") >= 3, "it is asked again")

    def test_a_ttl_of_nothing_is_a_second(self):
        server = self.nameserver(A=a("127.0.0.1", ttl=0))
        self.start()
        began = time.monotonic()
        self.until(lambda _: server.count("A") >= 3, "it is asked again")
        self.assertGreaterEqual(time.monotonic() - began, 1.9)

    def test_addresses_that_do_not_answer_are_looked_up_again(self):
        server = self.nameserver(A=a("127.0.0.9", ttl=3600))
        self.start()
        self.assert_error(self.post(), 502, "connection_refused")
        server.A = a("127.0.0.1", ttl=3600)
        self.until(lambda answer: answer.status == 200, "the new address is used")

    def test_ipv6_alone_because_a_was_late_does_not_stay(self):
        server = self.nameserver(A=after(self.gate, a("127.0.0.1", ttl=3600)),
                                 AAAA=aaaa("::1", ttl=3600))
        self.start()
        self.succeed()
        self.gate.set()
        self.until(lambda _: server.count("A") >= 2, "A is asked for again")


class Leaving(DnsTest):
    def test_a_client_that_leaves_while_a_name_is_looked_up(self):
        gate = threading.Event()
        server = self.nameserver(A=after(gate, a("127.0.0.1")), AAAA=after(gate, nodata))
        self.start()
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [JSON], CHAT)
        server.wait_questions(2)
        client.rst()
        event = self.wait_event(event="request", error="client_closed")
        self.assertEqual(event["dashboard"], "invisible")
        gate.set()                  # the answers come to nobody
        self.succeed()

    def test_an_exit_while_a_name_is_looked_up(self):
        server = self.nameserver(A=silent, AAAA=silent)
        self.start()
        client = self.connect()
        client.send_request("POST", COMPLETIONS, [JSON], CHAT)
        server.wait_questions(2)
        self.andiron.stop()         # and no sanitizer speaks

    def test_many_at_once(self):
        """More than evdns sends at once (64), and some of them leave."""
        server = self.nameserver(A=after(self.gate, a("127.0.0.1")), AAAA=after(self.gate, nodata))
        self.start()
        clients = [self.connect() for _ in range(100)]
        for client in clients:
            client.send_request("POST", COMPLETIONS, [JSON], CHAT)
        server.wait_questions(200)
        for client in clients[::2]:
            client.rst()
        self.andiron.wait_event(event="request", error="client_closed", count=50)
        self.gate.set()
        for client in clients[1::2]:
            self.assert_status(client.read_head(), 200)


if __name__ == "__main__":
    refuse_or_enter()
    main()
