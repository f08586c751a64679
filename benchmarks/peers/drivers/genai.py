"""One call of google-genai, for the drivers that stand on it."""

from __future__ import annotations

from google import genai
from google.genai import types
from work import Work, prompt


def client(work: Work) -> genai.Client:
    """With its defaults."""
    return genai.Client(api_key="bench", http_options=types.HttpOptions(base_url=work.base_url))


def settings(work: Work) -> types.GenerateContentConfig | None:
    """Images are asked for as such."""
    return types.GenerateContentConfig(response_modalities=["IMAGE"]) if work.mode == "image" else None


async def ask(client: genai.Client, work: Work, n: int) -> bytes | str | None:
    """The answer to prompt n."""
    response = await client.aio.models.generate_content(model=work.model, contents=prompt(n), config=settings(work))
    return answer(response)


def answer(response: types.GenerateContentResponse) -> bytes | str | None:
    """The picture, or else the text."""
    for candidate in response.candidates or ():
        for part in (candidate.content and candidate.content.parts) or ():
            if part.inline_data:
                return part.inline_data.data
    return response.text
