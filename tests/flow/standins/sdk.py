"""What stands in for an SDK that the machine does not have.

It is not the SDK. It sends a request of the shape that the SDK sends (measured: path, key, time-out
announced), and takes only the options that the pages use: an option that it does not know is a
TypeError, so a new one is to be looked up in the real SDK first. Where the SDK is installed the
tests take that."""

import json
import types

import requests


class APIError(Exception):
    code = body = None


class APIStatusError(APIError):
    def __init__(self, response):
        super().__init__(response.text)
        self.response = response
        self.status_code = response.status_code
        self.body = response.json().get("error")
        self.code = self.body.get("code")
        self.request_id = response.headers.get("x-request-id")


class Object(types.SimpleNamespace):
    """What an answer leaves out is None."""

    def __getattr__(self, name):
        return None


def to_object(value):
    if isinstance(value, list):
        return [to_object(item) for item in value]
    if isinstance(value, dict):
        return Object(**{key: to_object(item) for key, item in value.items()})
    return value


class Client:
    def __init__(self, prefix, base_url, key, headers, limit):
        self.base = base_url.rstrip("/") + prefix
        self.headers = {**key, "X-Stainless-Lang": "python", **(headers or {})}
        self.limit = getattr(limit, "read", limit)
        self.models = types.SimpleNamespace(list=lambda: self.ask("GET", "/models"))

    def ask(self, method, path, body=None, headers=None, timeout=None):
        limit = timeout or self.limit
        headers = {**self.headers, "X-Stainless-Read-Timeout": str(limit), **(headers or {})}
        stream = bool(body and body.get("stream"))
        answer = requests.request(method, self.base + path, json=body, headers=headers, timeout=limit, stream=stream)
        if answer.status_code >= 400:
            raise APIStatusError(answer)
        return self.events(answer) if stream else to_object(answer.json())

    @staticmethod
    def events(answer):
        for line in answer.iter_lines():
            if line.startswith(b"data: {"):
                yield to_object(json.loads(line[len(b"data: "):]))


class Chat:
    def __init__(self, client):
        self.client = client
        self.completions = self

    def create(self, *, model, messages, stream=False, extra_headers=None, timeout=None):
        body = {"model": model, "messages": messages, "stream": stream}
        return self.client.ask("POST", "/chat/completions", body, extra_headers, timeout)
