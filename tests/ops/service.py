"""A machine (machine.py) with this binary and its units in it, for the tests of the service."""

import os
import pathlib
import re
import shutil
import subprocess

from machine import OK, ROOT, MachineTest, missing, put
from upstream import Upstream

BINARY = os.path.abspath(os.environ.get("ANDIRON", ROOT / "build" / "andiron"))
MISSING = missing("ldd")
SERVER = "[server]\ndrain_timeout = 2s\n"


def put_binary(tree):
    """With the libraries that it is linked with, as far as they are not there."""
    shutil.copy(BINARY, tree / "usr" / "bin" / "andiron")
    for library in re.findall(r"/\S+", subprocess.run(["ldd", BINARY], capture_output=True, text=True).stdout):
        there = tree / library.lstrip("/")
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, there)


def put_units(tree):
    """Where a package has them."""
    for folder, kind in (("", "system"), ("user", "user")):
        place = tree / "usr" / "lib" / "systemd" / kind
        for unit in ("andiron.service.in", "andiron.socket"):
            text = (ROOT / "systemd" / folder / unit).read_text()
            put(place / unit.removesuffix(".in"), text.replace("@BINDIR@", "/usr/bin").replace("@SYSCONFDIR@", "/etc"))


class ServiceTest(MachineTest):
    """The service and its sockets as systemd runs them, and an upstream beside it."""

    @staticmethod
    def prepare(tree):
        put_binary(tree)
        put_units(tree)
        put(tree / "etc" / "ssl" / "certs" / "ca-certificates.crt",
            pathlib.Path("/etc/ssl/certs/ca-certificates.crt").read_text())

    def setUp(self):
        self.addCleanup(self.forget)

    def forget(self):
        """As it was before: nothing runs, no key, no drop-in; an empty journal."""
        self.machine.run("systemctl stop andiron.socket andiron.service; systemctl reset-failed; "
                         "rm -rf /etc/andiron/* /etc/systemd/system/andiron.service.d; systemctl daemon-reload; "
                         "journalctl -q --rotate; journalctl -q --vacuum-time=1s", check=False)

    def configure(self, script=lambda request: OK, text=SERVER, key=None, drop_in=None):
        self.upstream = Upstream(script, None)
        self.addCleanup(self.upstream.close)
        tree = self.machine.tree
        put(tree / "etc/andiron/andiron.conf", f"{text}[upstream.fireworks]\nurl = {self.upstream.url}\n")
        if key:
            put(tree / "etc/andiron/fireworks_api_key", key, 0o600)
        if drop_in:
            put(tree / "etc/systemd/system/andiron.service.d/test.conf", drop_in)
            self.machine.run("systemctl daemon-reload")
