"""See sdk.py."""

from sdk import APIError, APIStatusError, Chat, Client

__all__ = ["APIError", "APIStatusError", "Fireworks"]


class Fireworks(Client):
    def __init__(self, *, base_url, api_key, timeout=60):
        super().__init__("/v1", base_url, {"Authorization": f"Bearer {api_key}"}, None, timeout)
        self.chat = Chat(self)
