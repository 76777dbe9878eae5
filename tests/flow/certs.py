"""A certificate authority for one test run, made with the openssl command line.

    authority()            the directory's files as attributes, made at the first call
    .ca                    what the daemon trusts (ca_file)
    .self_signed           right names, no authority at all
    .server                certificate and key for localhost, upstream.test, api.test,
                           api.localhost, 127.0.0.1, ::1
    .wrong_name            the same authority, another name
    .expired               the same authority, over since yesterday
    .unknown_ca            right names, an authority that nobody trusts
"""

import atexit
import functools
import os
import subprocess
import tempfile

NAMES = ("DNS:localhost,DNS:upstream.test,DNS:api.test,DNS:api.localhost,"
         "IP:127.0.0.1,IP:::1")


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self._key("ca.key")
        self._key("other.key")
        self._key("server.key")
        self.ca = self._root("ca")
        self.other = self._root("other")
        self.server = self._leaf("server", "ca", NAMES)
        self.wrong_name = self._leaf("wrong_name", "ca", "DNS:elsewhere.test")
        self.expired = self._leaf("expired", "ca", NAMES, days=-1)
        self.unknown_ca = self._leaf("unknown_ca", "other", NAMES)
        self.self_signed = self._self_signed("self_signed", NAMES)

    def path(self, name):
        return os.path.join(self.folder, name)

    def _openssl(self, *arguments):
        done = subprocess.run(("openssl",) + arguments, capture_output=True, cwd=self.folder)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr.decode()}")

    def _key(self, name):
        self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                      "-out", name)

    def _root(self, name):
        self._openssl("req", "-x509", "-key", name + ".key", "-days", "2", "-out", name + ".pem",
                      "-subj", f"/CN=flow test authority {name}")
        return self.path(name + ".pem")

    def _leaf(self, name, issuer, alt_names, days=2):
        """One file with the certificate and the key that all of them share."""
        with open(self.path(name + ".ext"), "w") as extensions:
            extensions.write(f"subjectAltName={alt_names}\nextendedKeyUsage=serverAuth\n")
        self._openssl("req", "-new", "-key", "server.key", "-out", name + ".csr",
                      "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", name + ".csr", "-CA", issuer + ".pem",
                      "-CAkey", issuer + ".key", "-CAcreateserial", "-days", str(days),
                      "-extfile", name + ".ext", "-out", name + ".crt")
        return self._with_key(name)

    def _self_signed(self, name, alt_names):
        self._openssl("req", "-x509", "-key", "server.key", "-days", "2", "-out", name + ".crt",
                      "-subj", f"/CN={name}", "-addext", f"subjectAltName={alt_names}")
        return self._with_key(name)

    def _with_key(self, name):
        with open(self.path(name + ".pem"), "w") as both:
            for part in (name + ".crt", "server.key"):
                with open(self.path(part)) as source:
                    both.write(source.read())
        return self.path(name + ".pem")


@functools.lru_cache(maxsize=None)
def authority():
    folder = tempfile.TemporaryDirectory(prefix="andiron-certs-")
    atexit.register(folder.cleanup)
    return Authority(folder.name)
