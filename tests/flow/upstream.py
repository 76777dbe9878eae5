"""A scripted upstream: an HTTP/1.1 server, TLS or plain, that can do what a broken one does.

    upstream = Upstream([reply(503), sse(EVENT, gate, DONE)], certificate=authority().server)
    ... upstream.url, upstream.wait_requests(2), upstream.requests[0].headers ...
    upstream.close()

A script is a list of answers, taken in the order in which requests arrive, or a function of the
request that returns one. An answer is a list of steps; a step is a function of the connection.
Steps run one after the other, so answers are put together with `+`:

    reply(200, b"{}") + [fin]           an answer, then an idle connection that closes at once
    chunked(b"half", fin)               a body that is cut: `fin` ends the connection there
    sse(EVENT, gate, EVENT, DONE)       a threading.Event is a gate: wait until the test sets it
    [send(b"HTTP/1.1 200 O"), rst]      any bytes
    early(reply(413))                   answers before the body is read

What is recorded: `requests` (with their headers in order and case, body, connection, index) and
`connections` (bytes sent, and how the peer ended: "fin" or "rst").
"""

import select
import socket
import ssl
import struct
import threading
import time

BOUND = 30.0    # seconds after which a wait counts as a hang
SLICE = 0.02    # how often a waiting step looks at its gate
REASONS = {200: "OK", 204: "No Content", 304: "Not Modified", 400: "Bad Request",
           429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable", 504: "Gateway Timeout"}
NOTHING_LEFT = 418  # the status that says: the script had no more answers


class PeerLeft(Exception):
    """The peer ended the connection; its record says how."""


class Over(Exception):
    """This side ended the connection, as the script said."""


# --- bytes ------------------------------------------------------------------------------------

def encode(value):
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def head(status, headers=(), reason=None):
    """A response head, exactly."""
    reason = REASONS.get(status, "Status") if reason is None else reason
    lines = [f"HTTP/1.1 {status} {reason}".encode("latin-1")]
    lines += [encode(name) + b": " + encode(value) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
JSON = ("Content-Type", "application/json")
EVENT_STREAM = ("Content-Type", "text/event-stream")
BINARY = ("Content-Type", "application/octet-stream")


# --- steps ------------------------------------------------------------------------------------

def send(data):
    return lambda connection: connection.send(data)


def repeat(data, times):
    """Sends the same bytes many times over."""
    def step(connection):
        for _ in range(times):
            connection.send(data)
    return step


def wait(gate):
    """Goes on when the test sets the gate; the peer may leave meanwhile."""
    return lambda connection: connection.wait(gate)


def hold(gate=None):
    """Says nothing until the gate opens (no gate: until the peer leaves)."""
    return lambda connection: connection.wait(gate or threading.Event())


def ignore(connection):
    """Reads nothing until the peer leaves."""
    connection.ignore()


def handshake(connection):
    connection.handshake()


def fin(connection):
    """Ends in an orderly way: close_notify under TLS, then FIN."""
    connection.finish(notify=True)


def ragged(connection):
    """FIN without close_notify: what a truncation attack or a crashed server looks like."""
    connection.finish(notify=False)


def rst(connection):
    connection.reset()


# --- answers ----------------------------------------------------------------------------------

class Early(list):
    """An answer that does not wait for the request's body."""


def early(answer):
    return Early(answer)


def reply(status=200, body=b"", headers=(), reason=None):
    """An answer with a Content-Length; to HEAD without its body."""
    length = [] if status in (204, 304) else [("Content-Length", len(body))]
    start = head(status, list(headers) + length, reason)

    def step(connection):
        silent = connection.request.method == "HEAD" or status in (204, 304)
        connection.send(start if silent else start + body)
    return [step]


def short(body, declared, ending=fin, status=200, headers=(JSON,)):
    """A Content-Length that the body does not reach."""
    start = head(status, list(headers) + [("Content-Length", declared)])
    return [send(start + body), ending]


def chunked(*pieces, status=200, headers=(), last=LAST_CHUNK):
    """A chunked answer. A piece is bytes (one chunk), a gate, or a step such as `fin`."""
    start = head(status, list(headers) + [("Transfer-Encoding", "chunked")])
    return [send(start)] + [_piece(piece, chunk) for piece in pieces] + [send(last)]


def until_close(*pieces, status=200, headers=(("Connection", "close"),), ending=fin):
    """An answer without a length; its end is the connection's end."""
    return [send(head(status, headers))] + [_piece(piece, bytes) for piece in pieces] + [ending]


def sse(*pieces, status=200, headers=(EVENT_STREAM,), last=LAST_CHUNK):
    return chunked(*pieces, status=status, headers=headers, last=last)


def nothing():
    """No answer at all: holds the connection until the peer leaves."""
    return [hold()]


def _piece(piece, frame):
    if isinstance(piece, threading.Event):
        return wait(piece)
    if callable(piece):
        return piece
    return send(frame(piece))


# --- records ----------------------------------------------------------------------------------

class Request:
    """One request as it arrived."""

    def __init__(self, connection, index, lines):
        self.connection = connection    # the connection's number, from 0
        self.index = index              # which request on that connection, from 0
        self.at = time.monotonic()
        self.wall = time.time()
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.headers = [tuple(part.strip(" ") for part in line.split(":", 1))
                        for line in lines[1:]]
        self.body = b""
        self.complete = False
        self.framing = None             # "length", "chunked" or None

    def header(self, name):
        """The value of the first header of this name, or None."""
        return next(iter(self.all(name)), None)

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __repr__(self):
        return (f"<{self.method} {self.target} on connection {self.connection}.{self.index}, "
                f"{len(self.body)} bytes of body{'' if self.complete else ', cut'}>")


class Connection:
    """One accepted connection, served by one thread. The test reads number, sent, end."""

    def __init__(self, upstream, sock, number):
        self.upstream, self.sock, self.number = upstream, sock, number
        self.request = None
        self.served = 0
        self.sent = 0
        self.buffer = bytearray()
        self.end = None             # how the peer ended: "fin" or "rst"
        self.close_notify = None    # with TLS and "fin": did it say so
        self.ended_at = None
        self.server_name = None     # SNI
        self.resumed = None         # a TLS session of before
        self.version = None         # of TLS
        self.problem = None         # what went wrong on this side, a failed handshake for one
        self.over = threading.Event()

    def __repr__(self):
        return (f"<connection {self.number}: {self.served} requests, {self.sent} bytes sent, "
                f"peer's end {self.end}, problem {self.problem!r}>")

    def wait_end(self, bound=BOUND):
        """Waits for the peer to end; says how."""
        if not self.over.wait(bound) or self.end is None:
            raise AssertionError(f"the peer did not end {self!r} within {bound} s")
        return self.end

    # what steps do

    def send(self, data):
        self.sock.settimeout(2 * BOUND)
        try:
            for start in range(0, len(data), 65536):
                part = data[start:start + 65536]
                self.sock.sendall(part)
                self.sent += len(part)
        except (ssl.SSLError, OSError):
            self._left("rst")

    def wait(self, gate):
        deadline = time.monotonic() + 2 * BOUND
        while not gate.is_set():
            if time.monotonic() > deadline:
                raise Over("a gate that nobody opened")
            self.buffer += self._receive(SLICE)

    def ignore(self):
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        seen = poll.poll(2 * BOUND * 1000)
        if not seen:
            raise Over("a peer that did not leave")
        self._left("rst" if seen[0][1] & (select.POLLERR | select.POLLHUP) else "fin")

    def handshake(self):
        if self.upstream.context is None:
            return
        self.sock.settimeout(BOUND)
        self.sock = self.upstream.context.wrap_socket(
            self.sock, server_side=True, suppress_ragged_eofs=False)
        self.server_name = getattr(self.sock, "asked_for", None)
        self.resumed, self.version = self.sock.session_reused, self.sock.version()

    def finish(self, notify):
        if notify and isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(0)
            try:
                self.sock = self.sock.unwrap()
            except (ssl.SSLError, OSError):
                pass                # close_notify is out; the peer's is not waited for
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        except OSError:
            pass
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:  # unread bytes would turn the FIN into an RST
            self._receive(BOUND)
        raise Over("the peer kept a finished connection open")

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise Over("reset by the script")

    # the thread

    def run(self):
        try:
            for step in self.upstream.opening(self.number):
                step(self)
            while True:
                self._serve()
        except (PeerLeft, Over):
            pass
        except Exception as problem:    # a handshake that failed, bytes that are no HTTP
            self.problem = problem
        finally:
            self.sock.close()
            self.over.set()

    def _serve(self):
        request = self._read_head()
        answer = self.upstream.answer_before_body()
        self.request = request
        if not isinstance(answer, Early):
            try:
                self._read_body(request)
            finally:
                self.upstream.record(request)
        else:
            self.upstream.record(request)
        if answer is None:
            answer = self.upstream.script(request)
        for step in answer:
            step(self)

    def _read_head(self):
        text = self._until(b"\r\n\r\n").decode("latin-1")
        request = Request(self.number, self.served, text.split("\r\n"))
        self.served += 1
        return request

    def _read_body(self, request):
        length = request.header("Content-Length")
        if (request.header("Transfer-Encoding") or "").lower() == "chunked":
            request.framing = "chunked"
            self._read_chunks(request)
        elif length is not None:
            request.framing = "length"
            request.body = self._exactly(int(length))
        request.complete = True

    def _read_chunks(self, request):
        body = bytearray()
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            body += self._exactly(size)
            self._until(b"\r\n")
        while self._until(b"\r\n"):
            pass                        # trailers
        request.body = bytes(body)

    def _until(self, mark):
        start = 0
        while (at := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark) + 1)
            self.buffer += self._receive(None)
        found = bytes(self.buffer[:at])
        del self.buffer[:at + len(mark)]
        return found

    def _exactly(self, count):
        while len(self.buffer) < count:
            self.buffer += self._receive(None)
        found = bytes(self.buffer[:count])
        del self.buffer[:count]
        return found

    def _receive(self, bound):
        """Bytes of the peer, none if none came within the bound; PeerLeft at its end."""
        self.sock.settimeout(bound)
        try:
            data = self.sock.recv(262144)
        except TimeoutError:
            return b""
        except (ssl.SSLError, OSError) as problem:
            if getattr(problem, "reason", None) == "UNEXPECTED_EOF_WHILE_READING":
                self._left("fin", notified=False)
            self._left("rst")
        if not data:
            self._left("fin", notified=True)
        return data

    def _left(self, how, notified=None):
        self.end, self.close_notify, self.ended_at = how, notified, time.monotonic()
        raise PeerLeft


# --- the server -------------------------------------------------------------------------------

class Upstream:
    """Listens on 127.0.0.1 and ::1 at one free port.

    certificate   a PEM file with certificate and key; None for plain HTTP
    connections   what to do with connection 0, 1, ... before its first request: a list of lists
                  of steps; default [handshake]. [hold()] never shakes hands, [handshake, ignore]
                  never reads, [rst] resets.
    listening     False: connections are refused until listen() is called
    """

    def __init__(self, script=(), certificate=None, connections=(), listening=True):
        self.script = script if callable(script) else list(script)
        self.openings = list(connections)
        self.context = _context(certificate) if certificate else None
        self.lock = threading.Condition()
        self.requests = []
        self.connections = []
        self._sockets = _bind_both()
        self._threads = []
        self.port = self._sockets[0].getsockname()[1]
        self.authority = f"localhost:{self.port}"
        self.url = ("https://" if certificate else "http://") + self.authority
        if listening:
            self.listen()

    def listen(self):
        for sock in self._sockets:
            sock.listen(512)
            self._spawn(self._accept, sock)

    def wait_requests(self, count, bound=BOUND):
        return self._wait(lambda: self.requests, count, "requests", bound)

    def wait_connections(self, count, bound=BOUND):
        return self._wait(lambda: self.connections, count, "connections", bound)

    def close(self):
        for sock in self._sockets:
            _shut(sock)
            sock.close()
        with self.lock:
            connections, threads = list(self.connections), list(self._threads)
        for connection in connections:
            _shut(connection.sock)
        for thread in threads:
            thread.join(BOUND)
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            raise AssertionError(f"upstream threads that did not end: {stuck}")

    # what connections ask

    def opening(self, number):
        return self.openings[number] if number < len(self.openings) else [handshake]

    def answer_before_body(self):
        """The next answer of a list; None where a function will want the whole request."""
        if callable(self.script):
            return None
        with self.lock:
            return self.script.pop(0) if self.script else reply(NOTHING_LEFT, b"script is empty")

    def record(self, request):
        with self.lock:
            self.requests.append(request)
            self.lock.notify_all()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                connection = Connection(self, sock, len(self.connections))
                self.connections.append(connection)
                self.lock.notify_all()
            self._spawn(connection.run)

    def _spawn(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        with self.lock:
            self._threads.append(thread)
        thread.start()

    def _wait(self, what, count, name, bound):
        with self.lock:
            if not self.lock.wait_for(lambda: len(what()) >= count, bound):
                raise AssertionError(f"the upstream saw {len(what())} {name} within {bound} s, "
                                     f"not {count}: {what()}")
            return list(what())


def _context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF    # a FIN without close_notify is news
    context.set_alpn_protocols(["http/1.1"])

    def on_name(sock, name, _):
        sock.asked_for = name
    context.sni_callback = on_name
    return context


def _bind_both():
    """A socket for IPv4 and, where the machine has it, one for IPv6 at the same port."""
    for _ in range(20):
        first = socket.socket(socket.AF_INET)
        first.bind(("127.0.0.1", 0))
        try:
            second = socket.socket(socket.AF_INET6)
            second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            second.bind(("::1", first.getsockname()[1]))
        except OSError as problem:
            if problem.errno == 98:     # EADDRINUSE: somebody has that port over IPv6
                first.close()
                continue
            return [first]
        return [first, second]
    raise RuntimeError("no port that is free over IPv4 and IPv6")


def _shut(sock):
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass
