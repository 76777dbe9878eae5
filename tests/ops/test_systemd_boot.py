"""The units under a real systemd: a small Debian boots in a container (machine.py), with this binary in it.

    make ops            as root; the packages of `scripts/install ops`
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machine import DONE, ONE, put
from service import MISSING, SERVER, ServiceTest
from upstream import hold, sse

@unittest.skipIf(MISSING, MISSING)
class Boot(ServiceTest):
    def assert_inactive(self, result="success"):
        self.assertEqual(self.machine.show("ActiveState") + " " + self.machine.show("Result"),
                         ("inactive " if result == "success" else "failed ") + result, self.machine.journal())

    # --- the service

    def test_it_is_ready_when_systemd_says_so(self):
        self.configure()
        self.machine.run("systemctl start andiron")
        self.assert_answer()                    # at once
        self.assertEqual(self.machine.show("ActiveState"), "active")
        self.assertEqual(self.machine.show("StatusText"), "0 in flight, 0 waiting")
        self.assertTrue(self.machine.run("andiron check --live").startswith("alive: "))
        self.machine.run("systemctl stop andiron")
        self.assert_inactive()

    def test_a_wrong_configuration_is_not_tried_again(self):
        self.configure(text="[server]\nlisten = nowhere\n")
        self.machine.run("systemctl start andiron", check=False)
        self.assert_inactive("exit-code")
        self.assertEqual(self.machine.show("ExecMainStatus") + self.machine.show("NRestarts"), "780")

    def test_without_a_key_file_the_clients_key_goes_through(self):
        self.configure()
        self.machine.run("systemctl start andiron")
        self.connect().request("GET", "/v1/models", [("Authorization", "Bearer fw_client")])
        self.assertEqual(self.upstream.requests[0].header("Authorization"), "Bearer fw_client")

    def test_the_key_comes_as_a_credential(self):
        self.configure(key="fw_credential\n")
        self.machine.run("systemctl start andiron")
        self.connect().request("GET", "/v1/models", [("Authorization", "Bearer fw_client")])
        self.assertEqual(self.upstream.requests[0].header("Authorization"), "Bearer fw_credential")
        self.assertNotIn("fw_credential", self.machine.journal() + self.machine.run("systemctl show andiron"))

    def test_a_reload_with_a_mistake_fails(self):
        """Who asks for it is told, and not only the journal."""
        self.configure()
        self.machine.run("systemctl start andiron")
        conf = self.machine.tree / "etc/andiron/andiron.conf"
        conf.write_text(conf.read_text() + "nonsense = 1\n")
        self.assertEqual(self.machine.run("systemctl reload andiron && echo reloaded", check=False), "")
        self.assertIn("nonsense", self.machine.journal())
        self.assertEqual(self.machine.show("ActiveState"), "active")
        self.assert_answer()

    def test_a_reload_is_told(self):
        self.configure()
        self.machine.run("systemctl start andiron && systemctl reload andiron")
        self.machine.wait(lambda: self.machine.show("ActiveState") == "active", "the end of the reload")
        self.assertIn("Reloaded andiron.service", self.machine.journal())
        self.assert_answer()

    def test_stopping_lets_a_stream_end(self):
        gate = threading.Event()
        self.configure([sse(ONE, gate, DONE)])
        self.machine.run("systemctl start andiron")
        answer = self.start_stream()
        self.machine.run("systemctl stop --no-block andiron")
        self.machine.wait(lambda: self.machine.show("StatusText").startswith("draining: 1 in"), "the drain's status")
        gate.set()
        self.assertEqual((answer.body, answer.end), (ONE + DONE, "complete"))
        self.machine.wait(lambda: self.machine.show("ActiveState") == "inactive", "the end")
        self.assert_inactive()

    def test_a_long_drain_has_its_time(self):
        """drain_timeout holds, not the shorter TimeoutStopSec= of the unit."""
        self.configure([sse(ONE, hold())], SERVER.replace("2s", "3s"), drop_in="[Service]\nTimeoutStopSec=1s\n")
        self.machine.run("systemctl start andiron")
        answer = self.start_stream()
        self.machine.run("systemctl stop andiron")
        self.assertIn(b"event: error", answer.body)
        self.assert_inactive()
        self.assertIn("requests that were cut short: 1", self.machine.journal())

    def test_a_process_that_hangs_is_started_anew(self):
        self.configure(drop_in="[Service]\nWatchdogSec=1s\n")
        self.machine.run("systemctl start andiron")
        self.machine.run("kill -STOP $(systemctl show -P MainPID andiron)")
        self.machine.wait(lambda: self.machine.show("NRestarts") == "1", "the watchdog")
        self.machine.wait(lambda: self.machine.show("ActiveState") == "active", "the next life")
        self.assert_answer()
        self.assertIn("Watchdog timeout", self.machine.journal())

    # --- the sockets

    def test_a_client_starts_it(self):
        for text in ("", "[server]\nlisten = systemd\n"):
            with self.subTest(text):
                self.configure(text=text)
                self.machine.run("systemctl start andiron.socket")
                self.assertEqual(self.machine.show("ActiveState"), "inactive")
                self.assert_answer()
                for address in (("::1", 8787), f"{self.machine_root()}/run/andiron.sock"):
                    self.assert_answer(address)
                self.machine.run("systemctl stop andiron.socket andiron.service")
                self.assertFalse(os.path.exists(f"{self.machine_root()}/run/andiron.sock"))

    def test_a_restart_loses_nobody(self):
        """Who connects while one life ends and the next begins is served."""
        self.configure(text="[server]\nlisten = systemd\n")
        self.machine.run("systemctl start andiron.socket")
        self.assert_answer()
        with self.assert_all_served():
            for _ in range(3):                  # more would be too many starts within 10 s
                self.machine.run("systemctl restart andiron.service")

    def test_listen_systemd_without_sockets(self):
        self.configure(text="[server]\nlisten = systemd\n")
        self.machine.run("systemctl start andiron", check=False)
        self.assertEqual(self.machine.show("ExecMainStatus"), "69")
        self.assertIn("enable --now andiron.socket", self.machine.journal())

    def machine_root(self):
        return f"/proc/{self.machine.leader}/root"

    # --- what it may do

    def status(self, field):
        pid = self.machine.show("MainPID")
        text = self.machine.run(f"cat /proc/{pid}/status")
        return re.search(rf"^{field}:\s*(.*)$", text, re.M)[1]

    def test_the_hardening_holds(self):
        self.configure(text="[server]\n[log]\nevents = /var/log/andiron/events.jsonl\n")
        self.machine.run("systemctl start andiron")
        self.assert_answer()
        self.assertEqual({self.status(field) for field in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}, {"0" * 16})
        self.assertEqual((self.status("NoNewPrivs"), self.status("Seccomp")), ("1", "2"))
        self.assertNotIn("0", self.status("Uid").split())
        self.machine.wait(lambda: self.machine.run("cat /var/log/andiron/events.jsonl", check=False), "an event")
        self.assertEqual(self.machine.show("LimitNOFILE"), "65536")

    def test_its_world_is_small(self):
        """As the process itself sees it: through its root, with its mounts."""
        self.configure(key="fw_credential\n")
        put(self.machine.tree / "root" / "private", "x")
        self.machine.run("systemctl start andiron")
        pid = self.machine.show("MainPID")
        mounts = {}
        for line in self.machine.run(f"cat /proc/{pid}/mounts").splitlines():
            _, place, kind, options, *_ = line.split()
            mounts[place] = (kind, set(options.split(",")))
        self.assertLessEqual({"ro", "noexec", "nosuid"}, mounts["/"][1])
        self.assertLessEqual({"hidepid=invisible", "subset=pid"}, mounts["/proc"][1])
        self.assertNotIn("noexec", mounts["/usr/bin"][1])
        self.assertEqual(mounts["/run/credentials/andiron.service"][0], "ramfs")
        inside = f"nsenter -t {pid} -m /bin/ls -A"
        self.assertEqual(self.machine.run(inside + " /root", check=False), "")
        self.assertNotIn("sda", self.machine.run(f"ls /proc/{pid}/root/dev"))
        for place in ("/run/andiron", "/var/log/andiron", "/tmp", "/var/tmp", "/dev/shm"):      # what it could write there it could not execute
            self.machine.run(f"cp /bin/ls /proc/{pid}/root{place}/ls")
            self.assertIn("Permission denied", self.machine.run(f"nsenter -t {pid} -m {place}/ls 2>&1", check=False))

    # --- one user's own

    def test_a_users_own(self):
        """What the user's manager does with the unit, without a session of logind's: started by hand."""
        self.configure()
        self.machine.run("useradd -m -u 1234 someone; mkdir -p /run/user/1234; chown 1234 /run/user/1234")
        put(self.machine.tree / "home/someone/.config/andiron/andiron.conf",
            (self.machine.tree / "etc/andiron/andiron.conf").read_text())
        self.machine.run("chown -R 1234 /home/someone; systemd-run -q --unit=manager -p Type=notify -p Delegate=yes "
                         "-p User=1234 -p Environment=XDG_RUNTIME_DIR=/run/user/1234 /lib/systemd/systemd --user")
        manager = "setpriv --reuid=1234 --clear-groups env XDG_RUNTIME_DIR=/run/user/1234 systemctl --user "
        self.machine.run(manager + "start andiron")
        self.assertEqual(self.machine.run(manager + "show -P StatusText andiron"), "0 in flight, 0 waiting")
        self.assert_answer()
        self.machine.run(manager + "stop andiron; " + manager + "start andiron.socket")
        self.assert_answer()
        self.assert_answer(f"{self.machine_root()}/run/user/1234/andiron.sock")
        self.machine.run(manager + "stop andiron.socket andiron.service")


if __name__ == "__main__":
    unittest.main()
