"""The Debian package, as an admin meets it: built and looked at by lintian (scripts/package), then installed, upgraded,
removed and purged where a real systemd runs (machine.py).

    make ops            as root; the packages of `scripts/install ops package`
    ANDIRON_DEB=FILE    takes this package instead of building one
"""

import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machine import DONE, OK, ONE, PROXY, ROOT, MachineTest, add_to_tree, make_tree, missing, put
from upstream import Upstream, sse

MISSING = missing("dpkg-buildpackage", "dh", "lintian")
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends /root/"
EVENTS = "/var/log/andiron/events.jsonl"


def setUpModule():
    """The package, and a later one: the same with another number. dpkg writes the files anew all the same."""
    if MISSING:
        raise unittest.SkipTest(MISSING)
    global folder, version
    folder = pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
    package = os.environ.get("ANDIRON_DEB")
    if not package:
        built = subprocess.run([ROOT / "scripts" / "package"], capture_output=True, text=True)
        if built.returncode:
            raise AssertionError(built.stdout + built.stderr)
        package = built.stdout.strip()
    shutil.copy(package, folder / "old.deb")
    version, depends = (subprocess.run(["dpkg-deb", "--field", package, field], capture_output=True, text=True,
                                       check=True).stdout.strip() for field in ("Version", "Depends"))
    make_tree()
    add_to_tree(f"{depends}, logrotate")
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder / "later"], check=True)
    control = folder / "later" / "DEBIAN" / "control"
    control.write_text(control.read_text().replace(f"Version: {version}\n", f"Version: {version}+later\n"))
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", folder / "later", folder / "later.deb"], check=True,
                   stdout=subprocess.DEVNULL)


class Package(MachineTest):
    @staticmethod
    def prepare(tree):
        for name in ("old.deb", "later.deb"):
            shutil.copy(folder / name, tree / "root")

    def setUp(self):
        self.tree = self.machine.tree
        self.addCleanup(self.forget)

    def forget(self):
        """Nothing of it is left."""
        self.machine.run("dpkg --purge andiron; systemctl stop andiron.socket andiron.service; "
                         "rm -rf /etc/andiron /etc/systemd/system/andiron* /etc/systemd/*/*/andiron* /usr/sbin/policy-rc.d; "
                         "rm -f /var/lib/logrotate/status; systemctl daemon-reload; systemctl reset-failed; "
                         "journalctl -q --rotate; journalctl -q --vacuum-time=1s", check=False)
        self.assertEqual(self.machine.run("grep -s ^andiron /proc/[0-9]*/comm", check=False), "", "a process is left")

    def serve(self, script=lambda request: OK, drop_in=""):
        """The upstream comes in by a drop-in, so that the configuration is the package's own."""
        self.upstream = Upstream(script, None)
        self.addCleanup(self.upstream.close)
        put(self.tree / "etc/systemd/system/andiron.service.d/test.conf",
            f"[Service]\nEnvironment=ANDIRON_UPSTREAM_FIREWORKS_URL={self.upstream.url}\n{drop_in}")

    def install(self, name="old.deb"):
        return self.machine.run(INSTALL + name + " 2>&1")

    def upgrade(self):
        said = self.install("later.deb")
        self.assertEqual(self.machine.run("dpkg-query -W -f '${Status} ${Version}' andiron"),
                         f"install ok installed {version}+later")
        return said

    def state(self, unit="andiron.service"):
        return self.machine.run(f"systemctl is-enabled {unit}; systemctl is-active {unit}", check=False).split()

    def assert_state(self, *expected, unit="andiron.service"):
        self.assertEqual(self.state(unit), list(expected), self.machine.journal())

    def pid(self):
        return self.machine.show("MainPID")

    def assert_refused(self):
        with self.assertRaises(ConnectionRefusedError):
            self.connect(PROXY)

    # --- installed

    def test_it_serves_at_once(self):
        self.serve()
        self.install()
        self.assert_state("enabled", "active")
        answer = self.connect().request("GET", "/v1/models", [("Authorization", "Bearer fw_client")])
        self.assertEqual(answer.status, 200, self.machine.journal())
        self.assertEqual(self.upstream.requests[0].header("Authorization"), "Bearer fw_client")
        self.assertEqual(self.connect(("127.0.0.1", 8788)).request("GET", "/healthz").status, 200)
        self.assertEqual(self.machine.run("andiron --version").split()[:2], ["andiron", version])

    def test_the_other_units_wait_for_the_admin(self):
        self.serve()
        self.install()
        self.assert_state("disabled", "inactive", unit="andiron.socket")
        for unit in ("andiron.service", "andiron.socket"):
            self.assertEqual(self.machine.run(f"systemctl --global is-enabled {unit}", check=False), "disabled")

    def test_everything_has_its_place(self):
        self.serve()
        self.install()
        for page in ("man1/andiron.1", "man5/andiron.conf.5", "man5/andiron-events.5"):
            text = gzip.decompress((self.tree / f"usr/share/man/{page}.gz").read_bytes())
            self.assertIn(b".Dt ANDIRON", text)
        for name in ("bash-completion/completions/andiron", "zsh/vendor-completions/_andiron",
                     "fish/vendor_completions.d/andiron.fish", "doc/andiron/copyright", "doc/andiron/README.md.gz"):
            self.assertTrue((self.tree / "usr/share" / name).exists(), name)
        self.assertEqual(self.machine.run("stat -c '%a %U' /etc/andiron /etc/andiron/andiron.conf"), "755 root\n644 root")
        self.assertEqual(self.machine.run("dpkg --verify andiron"), "")

    def test_its_configuration_is_the_defaults(self):
        """Nothing in it but comments and headings."""
        self.serve()
        self.install()
        text = (self.tree / "etc/andiron/andiron.conf").read_text()
        self.assertIn("\n;listen  ", text)
        self.assertEqual([line for line in text.splitlines() if line and line[0] not in ";["], [])
        self.assertEqual(self.machine.run("andiron check -c /etc/andiron/andiron.conf"),
                         self.machine.run("andiron check -c /dev/null"))

    def test_a_policy_can_forbid_the_start(self):
        self.serve()
        put(self.tree / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        self.install()
        self.assert_state("enabled", "inactive")

    # --- upgraded

    def test_an_upgrade_drops_no_request(self):
        gate = threading.Event()
        self.serve(lambda request: sse(ONE, gate, DONE) if request.method == "POST" else OK)
        self.install()
        old = self.pid()
        stream = self.start_stream()
        with self.assert_all_served():
            said = self.upgrade()
            self.assertIn("the new version has taken over", said, self.machine.journal())
            self.assertNotEqual(self.pid(), old)
        self.assertEqual(self.machine.run(f"stat -L -c %i /proc/{self.pid()}/exe"),
                         self.machine.run("stat -L -c %i /usr/bin/andiron"))
        gate.set()
        self.assertEqual((stream.body, stream.end), (ONE + DONE, "complete"))
        stream.client.fin()
        self.machine.wait(lambda: not self.machine.run(f"ls -d /proc/{old}", check=False), "the old one's end")
        self.assert_state("enabled", "active")
        self.assertEqual(self.machine.show("NRestarts"), "0")
        self.assert_answer()

    def test_two_upgrades_in_a_row(self):
        """The one that has taken over hands over as well."""
        self.serve()
        self.install()
        with self.assert_all_served():
            for name in ("later.deb", "old.deb --allow-downgrades"):
                before = self.pid()
                self.install(name)
                self.assertNotEqual(self.pid(), before)
        self.assertEqual(self.machine.show("NRestarts"), "0")

    def test_sockets_that_systemd_has_opened(self):
        """Handed over like its own at an upgrade, closed when it is removed."""
        self.serve()
        self.install()
        self.machine.run("systemctl stop andiron && systemctl enable --now andiron.socket")
        self.upgrade()
        self.assertEqual(self.state(), ["enabled", "inactive"])
        self.assert_answer()
        old = self.pid()
        with self.assert_all_served():
            self.install("old.deb --allow-downgrades")
        self.assertNotEqual(self.pid(), old)
        self.assertEqual(self.machine.show("NRestarts"), "0")
        self.machine.run("apt-get remove -q -y andiron")
        self.assert_refused()
        self.assertFalse(os.path.exists(f"/proc/{self.machine.leader}/root/run/andiron.sock"))

    def test_what_the_new_one_refuses_leaves_the_old_one_running(self):
        self.serve()
        self.install()
        old = self.pid()
        with open(self.tree / "etc/andiron/andiron.conf", "a", encoding="utf-8") as conf:
            conf.write("[server]\nlisten = nowhere\n")
        with self.assert_all_served():
            said = self.upgrade()
        self.assertIn("has not taken over, so the old one goes on", said)
        self.assertIn("/etc/andiron/andiron.conf:", said)
        self.assertEqual(self.pid(), old)

    def test_what_the_new_one_lacks_leaves_the_old_one_running(self):
        """What `andiron check` does not see: only a start opens the log."""
        self.serve()
        self.install()
        old = self.pid()
        conf = self.tree / "etc/andiron/andiron.conf"
        put(conf, conf.read_text().replace("[log]\n", "[log]\nevents = /var/log/nowhere/events.jsonl\n"))
        with self.assert_all_served():
            said = self.upgrade()
        self.assertIn("has not taken over, so the old one goes on running\n", said)
        self.assertEqual(self.pid(), old)
        self.assertIn("not upgraded: ", self.machine.show("StatusText"))

    def test_what_does_not_know_the_signal_is_restarted(self):
        """Here a shell around it, which SIGUSR2 would kill."""
        self.serve(drop_in="NoExecPaths=\nExecPaths=\nNotifyAccess=all\nWatchdogSec=0\n"
                           "ExecStart=\nExecStart=/bin/sh -c 'andiron run -c /etc/andiron/andiron.conf & wait'\n")
        self.install()
        old = self.pid()
        self.assertIn("andiron: restarted", self.upgrade())
        self.assertNotEqual(self.pid(), old)
        self.assertEqual(self.machine.show("NRestarts"), "0")
        self.assert_answer()

    def test_a_policy_can_forbid_the_restart(self):
        self.serve()
        self.install()
        old = self.pid()
        put(self.tree / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        self.assertIn("policy-rc.d forbids", self.upgrade())
        self.assertEqual(self.pid(), old)
        self.assert_answer()

    def test_what_was_stopped_stays_stopped(self):
        self.serve()
        self.install()
        self.machine.run("systemctl stop andiron")
        self.upgrade()
        self.assert_state("enabled", "inactive")

    def test_what_was_disabled_stays_disabled(self):
        self.serve()
        self.install()
        self.machine.run("systemctl disable --now andiron")
        self.upgrade()
        self.assert_state("disabled", "inactive")

    def test_what_was_masked_stays_masked(self):
        self.serve()
        self.install()
        self.machine.run("systemctl mask --now andiron")
        self.upgrade()
        self.assert_state("masked", "inactive")
        self.assertEqual(self.machine.run("dpkg --audit"), "")

    def test_what_had_failed_is_tried_again(self):
        self.serve()
        self.install()
        self.machine.run("systemctl kill --signal=KILL andiron; systemctl stop andiron; "
                         "echo '[server' >/etc/andiron/andiron.conf; systemctl start andiron", check=False)
        self.assert_state("enabled", "failed")
        self.machine.run("echo >/etc/andiron/andiron.conf")
        self.upgrade()
        self.assert_state("enabled", "active")

    def test_a_changed_configuration_survives(self):
        self.serve()
        self.install()
        with open(self.tree / "etc/andiron/andiron.conf", "a", encoding="utf-8") as conf:
            conf.write("; mine\n")
        self.upgrade()
        self.assertTrue((self.tree / "etc/andiron/andiron.conf").read_text().endswith("\n; mine\n"))
        self.assertIn("/etc/andiron/andiron.conf ", self.machine.run("dpkg-query -W -f '${Conffiles}' andiron"))

    # --- gone

    def test_what_is_removed_leaves_the_configuration(self):
        self.serve()
        self.install()
        put(self.tree / "etc/andiron/fireworks_api_key", "fw_mine\n", 0o600)
        self.assert_answer()
        self.machine.run("apt-get remove -q -y andiron")
        self.assert_refused()
        for unit in ("andiron.service", "andiron.socket"):
            self.assertEqual(self.machine.show("LoadState", unit), "not-found")
        self.assertEqual(self.machine.run("ls /etc/andiron"), "andiron.conf\nfireworks_api_key")
        self.assertFalse((self.tree / "usr/bin/andiron").exists())
        self.assertTrue((self.tree / "var/log/private/andiron").is_dir())
        self.install()                          # and comes back, as it was
        self.assert_state("enabled", "active")
        self.assert_answer()
        self.assertEqual(self.upstream.requests[-1].header("Authorization"), "Bearer fw_mine")

    def test_a_purge_leaves_nothing(self):
        self.serve()
        self.install()
        self.assert_answer()
        self.machine.run("apt-get purge -q -y andiron && systemctl daemon-reload")
        self.assert_refused()
        self.assertEqual(self.machine.run("ls -d /etc/andiron /etc/logrotate.d/andiron /var/log/andiron "
                                          "/var/log/private/andiron /run/andiron*; "
                                          "find /etc/systemd /var/lib/systemd -name 'andiron*' -not -path '*.d*'",
                                          check=False), "")

    def test_a_purge_leaves_the_admins_key(self):
        self.serve()
        self.install()
        put(self.tree / "etc/andiron/fireworks_api_key", "fw_mine\n", 0o600)
        self.assertIn("/etc/andiron/fireworks_api_key stays", self.machine.run("apt-get purge -q -y andiron 2>&1"))
        self.assertEqual(self.machine.run("ls /etc/andiron"), "fireworks_api_key")

    # --- the log

    def test_logrotate_loses_no_event(self):
        self.serve(drop_in=f"Environment=ANDIRON_LOG_EVENTS={EVENTS}\n")
        self.install()
        with self.assert_all_served():
            for part in ("first", "second"):
                self.ask(part)
                self.machine.wait(lambda: part in self.read(EVENTS), f"the {part} request")
                self.machine.run("logrotate --force /etc/logrotate.conf")
                self.machine.wait(lambda: self.read(EVENTS), "the next file")
        self.ask("last")
        self.machine.wait(lambda: "last" in self.read(EVENTS), "the last request")
        parts = [self.machine.run(f"zcat {EVENTS}.2.gz"), self.read(EVENTS + ".1"), self.read(EVENTS)]
        self.assertEqual([part in text for part, text in zip(("first", "second", "last"), parts)], [True] * 3)
        lines = [json.loads(line) for text in parts for line in text.splitlines()]
        logged = [line["request_id"] for line in lines if line["event"] == "request"]
        sent = [request.header("X-Request-Id") for request in self.upstream.requests]
        self.assertEqual(sorted(logged), sorted(sent))
        self.assertEqual(self.machine.run(f"stat -L -c %a:%u {EVENTS}"),
                         "600:" + self.machine.run(f"stat -c %u /proc/{self.pid()}"))

    def test_logrotate_of_a_stopped_service(self):
        self.serve(drop_in=f"Environment=ANDIRON_LOG_EVENTS={EVENTS}\n")
        self.install()
        self.ask("first")
        self.machine.run("systemctl stop andiron; logrotate --force /etc/logrotate.conf")
        self.assertIn("first", self.read(EVENTS + ".1"))

    def ask(self, name):
        self.assertEqual(self.connect().request("GET", "/v1/models", [("X-Request-Id", name)]).status, 200)

    def read(self, path):
        return self.machine.run(f"cat {path}", check=False)


if __name__ == "__main__":
    unittest.main()
