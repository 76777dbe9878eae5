"""What run and differential share: raw bytes out, what comes back, and files to send."""

import asyncio
import os
import re


def split_answers(data):
    """[(status, source, id)]; ValueError where it is not a sequence of answers."""
    answers = []
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        start = re.match(rb"HTTP/1\.[01] ([0-9]{3}) [ -~]+\r\n", head + b"\r\n")
        if not start or not mark:
            raise ValueError(f"no answer: {head[:200]!r}")
        status = int(start[1])
        if status < 200:
            continue
        source = re.search(rb"\r\nX-Andiron-Source: (\w+)", head)
        number = re.search(rb"\r\nX-Request-Id: ([^\r]*)", head)
        length = re.search(rb"\r\nContent-Length: ([0-9]+)", head)
        length = int(length[1]) if length and data and not data.startswith(b"HTTP/1.") else 0
        if length and not re.fullmatch(rb'\{.*"error":\{"message":"andiron: .*\}\}?', data[:length], re.S):
            raise ValueError(f"no error object: {data[:200]!r}")
        answers.append((status, source and source[1], number and number[1]))
        data = data[length:]
    return answers


async def send(address, data):
    """All that comes back until andiron ends the connection."""
    reader, writer = await asyncio.open_connection(*address)
    received = b""
    try:
        writer.write(data)
        while piece := await reader.read(65536):
            received += piece
    except ConnectionError:
        received = received or None         # reset: too much behind a request that waits
    finally:
        writer.close()
    return received


def adapt(data):
    """With a target and a Host that are let in, else as it is."""
    data = re.sub(rb"\A(\s*[^\s]+[ \t]+)[^\s]+", rb"\1/v1/models", data, count=1)
    return re.sub(rb"(?im)^(host[ \t]*:[ \t]*)[^\r\n]*", rb"\1localhost", data)


def read_folders(folders):
    for folder in folders:
        for base, _, names in sorted(os.walk(folder)):
            for name in sorted(names):
                path = os.path.join(base, name)
                with open(path, "rb") as file:
                    data = file.read()
                yield path, data, None
                yield path + " (adapted)", adapt(data), None
