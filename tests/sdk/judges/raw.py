"""Debian's Python clients, as judges.mjs's children would be: for every line of JSON on stdin

    {"id", "client", "stream", "url", "body"}

one on stdout, in the order in which they are done, {"id", "status", "text", "error"}: the status of
the answer, what could be read of its body, and the exception that ended the reading, if any did."""

import asyncio
import http.client
import json
import sys
import threading
import urllib.error
import urllib.request

import aiohttp
import httpx
import requests
import urllib3

HEADERS = {"Content-Type": "application/json"}
LIMIT = 120  # seconds; ends a hang

# Every client yields first the status, then the body in pieces, as its users read it: a stream line
# by line where it knows lines.


def with_requests(url, body, stream):
    with requests.post(url, data=body, headers=HEADERS, stream=stream, timeout=LIMIT) as answer:
        yield answer.status_code
        if not stream:
            yield answer.content
        else:
            for line in answer.iter_lines():
                yield line + b"\n"


def with_httpx(url, body, stream):
    if not stream:
        answer = httpx.post(url, content=body, headers=HEADERS, timeout=LIMIT)
        yield answer.status_code
        yield answer.content
        return
    with httpx.stream("POST", url, content=body, headers=HEADERS, timeout=LIMIT) as answer:
        yield answer.status_code
        for line in answer.iter_lines():
            yield line.rstrip("\n").encode() + b"\n"


def with_aiohttp(url, body, stream):
    """Its pieces are handed over in the end, with the exception that ended them."""
    pieces = []

    async def read():
        limit = aiohttp.ClientTimeout(total=LIMIT)
        async with aiohttp.ClientSession(timeout=limit) as session:
            async with session.post(url, data=body, headers=HEADERS) as answer:
                pieces.append(answer.status)
                if not stream:
                    pieces.append(await answer.read())
                else:
                    async for line in answer.content:
                        pieces.append(line)

    try:
        asyncio.run(read())
    finally:
        yield from pieces


def with_urllib3(url, body, stream):
    pool = urllib3.PoolManager(timeout=LIMIT, retries=False)
    answer = pool.request("POST", url, body=body, headers=HEADERS, preload_content=not stream)
    yield answer.status
    if not stream:
        yield answer.data
    else:
        yield from answer.stream(1024)


def with_urllib(url, body, stream):
    request = urllib.request.Request(url, body, HEADERS)
    try:
        answer = urllib.request.urlopen(request, timeout=LIMIT)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        yield answer.status
        if not stream:
            yield answer.read()
        else:
            yield from answer


CLIENTS = {
    "requests": with_requests,
    "httpx": with_httpx,
    "aiohttp": with_aiohttp,
    "urllib3": with_urllib3,
    "urllib": with_urllib,
}
ERRORS = (
    requests.RequestException, httpx.HTTPError, aiohttp.ClientError, asyncio.TimeoutError,
    urllib3.exceptions.HTTPError, http.client.HTTPException, OSError,
)  # fmt: skip


def ask(job):
    status, pieces, error = 0, [], None
    try:
        answer = CLIENTS[job["client"]](job["url"], job["body"].encode(), job["stream"])
        status = next(answer)
        pieces.extend(answer)
    except ERRORS as exception:
        error = f"{type(exception).__name__}: {exception}"
    text = b"".join(pieces).decode(errors="replace")
    return {"id": job["id"], "status": status, "text": text, "error": error}


def main():
    printing = threading.Lock()

    def work(job):
        line = json.dumps(ask(job))
        with printing:
            print(line, flush=True)

    for line in sys.stdin:
        threading.Thread(target=work, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    main()
