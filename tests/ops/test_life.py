"""A service's life under load and a real systemd: reloads, an upgrade of the binary, a restart, the end. Nobody who asks
for a stream notices; what is measured is printed.

    make ops"""

import os
import statistics
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machine import PROXY, put
from service import MISSING, ServiceTest
from load import Load                   # of tests/flow, which machine has found

UPGRADE = "systemctl kill --kill-whom=main -s USR2 andiron"


SERVER = "[server]\ndrain_timeout = 10s\n"
SOCKETS = SERVER + "listen = systemd\n"


@unittest.skipIf(MISSING, MISSING)
class Life(ServiceTest):
    def show(self, *names):
        return [self.machine.show(name) for name in names]

    # what is done to it

    def reload(self):
        before = self.journal_count("reloaded: ")
        self.machine.run("systemctl reload andiron")
        self.machine.wait(lambda: self.journal_count("reloaded: ") > before, "the reload")

    def journal_count(self, text):
        return self.machine.journal().count(text)

    def replace_binary(self):
        """Another file of the same name, as a package manager does it; its inode."""
        place = self.machine.tree / "usr" / "bin"
        subprocess.run(["cp", "-p", place / "andiron", place / "andiron.new"], check=True)
        os.rename(place / "andiron.new", place / "andiron")
        return (place / "andiron").stat().st_ino

    def upgrade(self):
        """The old and the new process, as systemd names them."""
        old = self.machine.show("MainPID")
        self.machine.run(UPGRADE)
        self.machine.wait(lambda: self.machine.show("MainPID") not in (old, "0"), "another main process")
        return old, self.machine.show("MainPID")

    def lives(self, pid):
        return self.machine.run(f"test -e /proc/{pid} && echo yes", check=False) == "yes"

    def wait_gone(self, pid):
        self.machine.wait(lambda: not self.lives(pid), f"the end of process {pid}")

    def assert_life(self, restarts="0"):
        self.assertEqual(self.show("ActiveState", "NRestarts"), ["active", restarts], self.machine.journal())

    def assert_well(self, load):
        self.assertEqual(load.find_wrong(), [], self.machine.journal()[-4000:])

    # --- none is lost

    def test_reloads_an_upgrade_and_the_end_under_load(self):
        load = Load(PROXY)
        self.configure(load.answer, SERVER)
        self.machine.run("systemctl start andiron")
        began = time.monotonic()
        with load:
            load.wait_begun(128)
            quiet = time.monotonic()
            for _ in range(10):
                self.reload()
                self.assert_life()
            file, asked = self.replace_binary(), time.monotonic()
            old, new = self.upgrade()
            self.assert_life()
            self.assertEqual(self.machine.run(f"stat -L -c %i /proc/{new}/exe"), str(file))
            self.wait_gone(old)
            load.wait_begun(128)
            spans = {"quiet": (began, quiet), "reloads": (quiet, asked), "upgrade": (asked, time.monotonic())}
            self.assert_life()
            load.ending.set()
            self.machine.run("systemctl stop andiron")
        self.assert_well(load)
        self.assertEqual(self.show("ActiveState", "Result", "NRestarts"), ["inactive", "success", "0"])
        self.assertNotIn("SIGKILL", self.machine.journal())
        self.assertNotIn("not our child", self.machine.journal())
        print("\n" + load.summary(**spans))

    def test_a_restart_by_socket_activation_refuses_nobody(self):
        """It is the way without SIGUSR2; both are measured, for clients that connect for each stream."""
        load = Load(PROXY, keep=0)
        self.configure(load.answer, SOCKETS)
        self.machine.run("systemctl start andiron.socket andiron.service")
        words = []
        with load:
            load.wait_begun(64)
            for name, act in (("restart by socket activation", lambda: self.machine.run("systemctl restart andiron")),
                              ("upgrade by SIGUSR2", self.upgrade)):
                since = time.monotonic()
                act()
                load.wait_begun(128)
                waits = load.waits(since, time.monotonic())
                words.append(f"{name}: longest wait {waits[-1] * 1000:.0f} ms (median {statistics.median(waits) * 1000:.0f} ms)")
            self.assert_life()
            load.ending.set()
            self.machine.run("systemctl stop andiron.socket andiron.service")
        self.assert_well(load)
        print("\n" + "; ".join(words))

    # --- what systemd makes of it

    def ask(self):
        client = self.connect()
        answer = client.request("GET", "/v1/models")
        client.fin()                    # a connection would keep its process
        self.assertEqual(answer.status, 200, f"{answer!r}\n" + self.machine.journal())

    def test_the_keys_the_status_and_the_sockets_go_on(self):
        self.configure(text=SOCKETS, key="fw_credential\n")
        self.machine.run("systemctl start andiron.socket andiron.service")
        for _ in range(2):
            old, new = self.upgrade()
            self.ask()
            self.wait_gone(old)
        self.assertEqual([request.header("Authorization") for request in self.upstream.requests], ["Bearer fw_credential"] * 2)
        self.assertEqual(self.machine.show("StatusText"), "0 in flight, 0 waiting")
        self.assert_life()
        self.machine.run("systemctl stop andiron.service")
        self.assertEqual(self.show("ActiveState", "Result"), ["inactive", "success"])
        self.ask()                      # and the socket starts it again
        self.assertNotEqual(self.machine.show("MainPID"), new)

    def test_the_watchdog_watches_the_new_one(self):
        """Which feeds it: a status a second, and three of them are three times WatchdogSec=."""
        self.configure(drop_in="[Service]\nWatchdogSec=1s\n")
        self.machine.run("systemctl start andiron")
        old, new = self.upgrade()
        self.wait_gone(old)
        since = self.machine.show("WatchdogTimestampMonotonic")
        for _ in range(6):              # one keep-alive each half second
            self.machine.wait(lambda: self.machine.show("WatchdogTimestampMonotonic") != since, "a keep-alive")
            since = self.machine.show("WatchdogTimestampMonotonic")
        self.assertEqual(self.machine.show("MainPID"), new)
        self.assert_life()
        self.machine.run(f"kill -STOP {new}")
        self.machine.wait(lambda: self.machine.show("NRestarts") == "1", "the watchdog")
        self.machine.wait(lambda: self.machine.show("ActiveState") == "active", "the next life")
        self.ask()

    def test_one_that_dies_is_started_anew(self):
        """systemd sees the end of a main process that it has not started itself."""
        self.configure()
        self.machine.run("systemctl start andiron")
        old, new = self.upgrade()
        self.wait_gone(old)
        self.machine.run(f"kill -SEGV {new}")
        self.machine.wait(lambda: self.machine.show("NRestarts") == "1", "the restart")
        self.machine.wait(lambda: self.machine.show("ActiveState") == "active", "the next life")
        self.ask()

    def test_a_users_own(self):
        """The user's manager, too, takes the new process for the service's."""
        self.configure()
        self.machine.run("useradd -m -u 1235 other; mkdir -p /run/user/1235; chown 1235 /run/user/1235")
        put(self.machine.tree / "home/other/.config/andiron/andiron.conf",
                (self.machine.tree / "etc/andiron/andiron.conf").read_text())
        self.machine.run("chown -R 1235 /home/other; systemd-run -q --unit=manager -p Type=notify -p Delegate=yes "
                         "-p User=1235 -p Environment=XDG_RUNTIME_DIR=/run/user/1235 /lib/systemd/systemd --user")
        manager = "setpriv --reuid=1235 --clear-groups env XDG_RUNTIME_DIR=/run/user/1235 systemctl --user "

        def show(name):
            return self.machine.run(manager + f"show -P {name} andiron")
        self.machine.run(manager + "start andiron")
        old = show("MainPID")
        self.machine.run(manager + "kill --kill-whom=main -s USR2 andiron")
        self.machine.wait(lambda: show("MainPID") != old, "another main process")
        self.ask()
        self.wait_gone(old)
        self.assertEqual([show(name) for name in ("ActiveState", "NRestarts", "StatusText")],
                         ["active", "0", "0 in flight, 0 waiting"])
        self.machine.run(manager + "stop andiron")
        self.assertEqual([show(name) for name in ("ActiveState", "Result")], ["inactive", "success"])

    def test_a_configuration_that_is_wrong_changes_nothing(self):
        self.configure()
        self.machine.run("systemctl start andiron")
        pid = self.machine.show("MainPID")
        conf = self.machine.tree / "etc/andiron/andiron.conf"
        conf.write_text(conf.read_text() + "nonsense = 1\n")
        self.machine.run(UPGRADE)
        self.machine.wait(lambda: self.journal_count("upgrade_failed"), "the refusal")
        self.assertEqual(self.machine.show("MainPID"), pid)
        self.assertIn("nonsense", self.machine.journal())
        self.assert_life()
        self.ask()


if __name__ == "__main__":
    unittest.main()
