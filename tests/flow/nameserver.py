"""A scripted name server: DNS over UDP, on port 53 of a loopback address.

    server = NameServer("127.0.0.1", A=a("127.0.0.1"), AAAA=nodata)
    ... server.wait_questions(2), server.questions ...
    server.close()

An answer is a function of the question that returns a list of datagrams, or something to wait for
between them (a threading.Event): a question is answered in a thread of its own.
"""

import socket
import struct
import threading

BOUND = 30.0
TYPES = {1: "A", 28: "AAAA"}
QR, TC, RD_RA = 0x8000, 0x0200, 0x0180
CNAME = 5


class Question:
    def __init__(self, packet):
        self.packet = packet
        self.id, self.flags = struct.unpack("!HH", packet[:4])
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
            at += 1 + packet[at]
        self.spelled = ".".join(labels)     # evdns mixes upper and lower case
        self.name = self.spelled.lower()
        self.type = TYPES.get(struct.unpack("!H", packet[at + 1:at + 3])[0])
        self.section = packet[12:at + 5]

    def __repr__(self):
        return f"{self.name} {self.type}"

    def answer(self, records=(), rcode=0, flags=0, number=None):
        number = self.id if number is None else number
        return struct.pack("!HHHHHH", number, QR | RD_RA | flags | rcode, 1, len(records), 0, 0) \
            + self.section + b"".join(records)


def record(kind, data, ttl, owner=b"\xc0\x0c"):
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


# --- answers ----------------------------------------------------------------------------------

def a(*ips, ttl=60):
    records = [record(1, socket.inet_pton(socket.AF_INET, ip), ttl) for ip in ips]
    return lambda question: [question.answer(records)]


def aaaa(*ips, ttl=60):
    records = [record(28, socket.inet_pton(socket.AF_INET6, ip), ttl) for ip in ips]
    return lambda question: [question.answer(records)]


def chain(answer_kind, ip, *names, ttl=60):
    """CNAME records from the name to the last of `names`, and that one's address."""
    family = socket.AF_INET if answer_kind == 1 else socket.AF_INET6
    owners = [b"\xc0\x0c"] + [labels(name) for name in names]
    records = [record(CNAME, labels(name), ttl, owner) for owner, name in zip(owners, names)]
    records.append(record(answer_kind, socket.inet_pton(family, ip), ttl, owners[-1]))
    return lambda question: [question.answer(records)]


def rcode(number):
    return lambda question: [question.answer(rcode=number)]


def nodata(question):
    return [question.answer()]


def silent(_question):
    return []


def truncated(question):
    return [question.answer(flags=TC)]


def garbage(question):
    return [struct.pack("!HH", question.id, QR) + b"\xff" * 40]


def after(gate, answer):
    return lambda question: [gate] + answer(question)


def forged_first(forged, answer):
    """Another id, then the right one."""
    def both(question):
        wrong = [struct.pack("!H", question.id ^ 1) + packet[2:] for packet in forged(question)]
        return wrong + answer(question)
    return both


# --- the server -------------------------------------------------------------------------------

class NameServer:
    def __init__(self, ip="127.0.0.1", A=nodata, AAAA=nodata):
        self.ip, self.A, self.AAAA = ip, A, AAAA    # a test may change both
        self.questions = []
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ip, 53))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def count(self, kind):
        with self._news:
            return sum(question.type == kind for question in self.questions)

    def wait_questions(self, count, bound=BOUND):
        with self._news:
            if not self._news.wait_for(lambda: len(self.questions) >= count, bound):
                raise AssertionError(f"{self.ip} was not asked {count} times: {self.questions}")
            return list(self.questions)

    def close(self):
        self._closed.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.ip, 53))
        self._thread.join(BOUND)
        self._socket.close()

    def _run(self):
        while True:
            packet, peer = self._socket.recvfrom(4096)
            if self._closed.is_set():
                return
            question = Question(packet)
            with self._news:
                self.questions.append(question)
                self._news.notify_all()
            answer = self.A if question.type == "A" else self.AAAA
            threading.Thread(target=self._answer, args=(answer(question), peer),
                             daemon=True).start()

    def _answer(self, steps, peer):
        for step in steps:
            if isinstance(step, threading.Event):
                step.wait(BOUND)
            else:
                try:
                    self._socket.sendto(step, peer)
                except OSError:
                    return      # closed meanwhile
