"""A client that sends exact bytes and says precisely how an answer ended.

    client = Client(("127.0.0.1", 8787))
    answer = client.request("POST", "/v1/chat/completions", body=b"{}")
    answer.status, answer.header("X-Request-Id"), answer.body, answer.end

Ends: "complete" (by its framing), "cut" (FIN before that), "reset" (RST).
"""

import collections
import hashlib
import json
import socket
import struct

BOUND = 30.0    # seconds without a byte after which a wait counts as a hang


class NoAnswer(AssertionError):
    """The server ended the connection without a head."""

    def __init__(self, end, received):
        super().__init__(f"no answer: connection ended by {end} after {received!r}")
        self.end = end
        self.received = received


class Hang(AssertionError):
    """Nothing came for a long time."""


def encode(value):
    return value if isinstance(value, bytes) else value.encode("latin-1")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Answer:
    """A response. Its body is read when asked for, so that a stream can be watched."""

    def __init__(self, client, text, method):
        self.client = client
        lines = text.decode("latin-1").split("\r\n")
        self.version, status, self.reason = (lines[0].split(" ", 2) + [""])[:3]
        self.status = int(status)
        self.headers = [tuple(part.strip(" ") for part in line.split(":", 1))
                        for line in lines[1:]]
        self.end = None
        self.framing = self._find_framing(method)
        self.got = bytearray()          # the body so far, unframed
        self._pieces = getattr(self, "_read_" + self.framing)()

    def header(self, name):
        return next(iter(self.all(name)), None)

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def body(self):
        """The whole body; waits for the end."""
        for piece in self._pieces:
            self.got += piece
        return bytes(self.got)

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"not JSON: {self!r}") from None

    def read_until(self, mark):
        """The body up to and including these bytes; leaves the rest for later."""
        while mark not in self.got:
            piece = next(self._pieces, None)
            if piece is None:
                raise AssertionError(f"{mark!r} did not come: {self!r}")
            self.got += piece
        return bytes(self.got)

    def count(self):
        """Reads to the end without keeping it: size and SHA-256 of the body."""
        digest, size = hashlib.sha256(self.got), len(self.got)
        for piece in self._pieces:
            digest.update(piece)
            size += len(piece)
        return size, digest.hexdigest()

    def __repr__(self):
        return (f"<{self.version} {self.status} {self.reason}, {self.headers}, "
                f"{len(self.got)} bytes of body {bytes(self.got[:600])!r}, end {self.end}>")

    def _find_framing(self, method):
        if method == "HEAD" or self.status in (204, 304) or self.status < 200:
            return "none"
        if (self.header("Transfer-Encoding") or "").lower() == "chunked":
            return "chunked"
        return "close" if self.header("Content-Length") is None else "length"

    # One generator for each framing: yields pieces, sets `end` when it is through.

    def _read_none(self):
        self.end = "complete"
        return
        yield

    def _read_length(self):
        left = int(self.header("Content-Length"))
        while left > 0:
            piece = self.client.take(left)
            if not piece:
                self.end = self.client.end
                return
            left -= len(piece)
            yield piece
        self.end = "complete"

    def _read_close(self):
        while piece := self.client.take(1 << 20):
            yield piece
        self.end = "complete" if self.client.end == "cut" else self.client.end

    def _read_chunked(self):
        while True:
            size = self.client.line()
            if size is None:
                self.end = self.client.end
                return
            left = int(size.split(b";")[0], 16)
            if left == 0:
                break
            while left > 0:
                piece = self.client.take(left)
                if not piece:
                    self.end = self.client.end
                    return
                left -= len(piece)
                yield piece
            self.client.line()
        self.trailers = list(iter(self.client.line, b""))
        self.end = "complete"


class Client:
    """One connection."""

    def __init__(self, address, bound=BOUND, receive_buffer=None):
        is_path = isinstance(address, str)     # of a Unix socket
        family = (socket.AF_UNIX if is_path else
                  socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.sock = socket.socket(family)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(bound)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        if not is_path:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = "localhost" if is_path else f"[{address[0]}]:{address[1]}" if ":" in address[0] else "%s:%d" % address
        self.buffer = bytearray()
        self.last = collections.deque(maxlen=64)    # the last raw pieces that came
        self.end = None                             # "cut" or "reset" once the server ended
        self.methods = collections.deque()          # of requests without an answer yet

    # sending

    def send(self, data):
        self.sock.sendall(data)

    def send_request(self, method, path, headers=(), body=None, version="HTTP/1.1"):
        """A request with Host, and Content-Length where there is a body, unless given."""
        given = {encode(name).lower() for name, _ in headers}
        lines = [encode(f"{method} {path} {version}")]
        if b"host" not in given:
            lines.append(b"Host: " + encode(self.host))
        lines += [encode(name) + b": " + encode(value) for name, value in headers]
        if body is not None and not given & {b"content-length", b"transfer-encoding"}:
            lines.append(b"Content-Length: %d" % len(body))
        self.methods.append(method)
        self.send(b"\r\n".join(lines) + b"\r\n\r\n" + (body or b""))

    def request(self, method, path, headers=(), body=None, version="HTTP/1.1"):
        """One request and its whole answer."""
        self.send_request(method, path, headers, body, version)
        answer = self.read_head()
        _ = answer.body
        return answer

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def fin(self):
        self.sock.close()

    def rst(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # receiving

    def read_head(self):
        """The next head, an interim one (1xx) included; its body is read by asking for it."""
        while (at := self.buffer.find(b"\r\n\r\n")) < 0:
            if not self._receive():
                raise NoAnswer(self.end, bytes(self.buffer))
        text = bytes(self.buffer[:at])
        del self.buffer[:at + 4]
        answer = Answer(self, text, self.methods[0] if self.methods else "GET")
        if answer.status >= 200 and self.methods:
            self.methods.popleft()
        return answer

    def read_end(self):
        """Waits for the server to end the connection: bytes that still came, and how it ended."""
        while self._receive():
            pass
        return bytes(self.buffer), self.end

    def take(self, most):
        """At least one byte, or nothing at the connection's end."""
        if not self.buffer and not self._receive():
            return b""
        piece = bytes(self.buffer[:most])
        del self.buffer[:most]
        return piece

    def line(self):
        """A line without its CRLF, or None at the connection's end."""
        while (at := self.buffer.find(b"\r\n")) < 0:
            if not self._receive():
                return None
        found = bytes(self.buffer[:at])
        del self.buffer[:at + 2]
        return found

    def tail(self):
        """The last raw bytes that came, framing included."""
        return b"".join(self.last)

    def _receive(self):
        if self.end:
            return False
        try:
            data = self.sock.recv(262144)
        except TimeoutError:
            raise Hang(f"nothing came for {self.sock.gettimeout()} s; last: "
                       f"{self.tail()[-300:]!r}") from None
        except ConnectionError:
            self.end = "reset"
            return False
        if not data:
            self.end = "cut"
            return False
        self.buffer += data
        self.last.append(data)
        return True
