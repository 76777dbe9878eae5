"""See sdk.py."""

from sdk import APIError, APIStatusError, Chat, Client

__all__ = ["APIError", "APIStatusError", "OpenAI"]


class OpenAI(Client):
    def __init__(self, *, base_url, api_key, timeout=600, max_retries=2, default_headers=None):
        super().__init__("", base_url, {"Authorization": f"Bearer {api_key}"}, default_headers, timeout)
        self.chat = Chat(self)
