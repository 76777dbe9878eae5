"""See sdk.py. Its shape is not measured: that it sends what OpenAI's SDK sends is what its page says."""

import openai


class ChatOpenAI:
    def __init__(self, *, model, base_url, api_key):
        self.model = model
        self.client = openai.OpenAI(base_url=base_url, api_key=api_key)

    def invoke(self, prompt):
        messages = [{"role": "user", "content": prompt}]
        return self.client.chat.completions.create(model=self.model, messages=messages).choices[0].message
