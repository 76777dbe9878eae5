"""See sdk.py."""

import contextlib

from sdk import APIError, APIStatusError, Client

__all__ = ["APIError", "APIStatusError", "Anthropic"]


class Anthropic(Client):
    def __init__(self, *, base_url, api_key):
        super().__init__("/v1", base_url, {"X-Api-Key": api_key}, {"anthropic-version": "2023-06-01"}, 600)
        self.messages = Messages(self)


class Messages:
    def __init__(self, client):
        self.client = client

    def create(self, *, model, max_tokens, messages, stream=False):
        body = {"model": model, "max_tokens": max_tokens, "messages": messages, "stream": stream}
        return self.client.ask("POST", "/messages", body)

    @contextlib.contextmanager
    def stream(self, **request):
        yield Helper(self.create(stream=True, **request))


class Helper:
    def __init__(self, events):
        self.text_stream = (event.delta.text for event in events if event.type == "content_block_delta")
