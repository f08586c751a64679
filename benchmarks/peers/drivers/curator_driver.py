"""bespokelabs-curator, text only: its litellm backend, its requests per minute, its cache as the resume."""

from __future__ import annotations

import json
import os

from work import TEXT_MODEL, prompt, work

task = work()
os.environ |= {"GEMINI_API_KEY": "bench", "TELEMETRY_ENABLED": "false", "CURATOR_DISABLE_RICH_DISPLAY": "1"}
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

from bespokelabs import curator  # noqa: E402


class Writer(curator.LLM):
    """The prompt as it is, the answer as it comes."""

    def prompt(self, input: dict) -> str:
        return input["text"]

    def parse(self, input: dict, response: str) -> dict:
        return {"n": input["n"], "text": response}


def main() -> None:
    writer = Writer(
        model_name=f"gemini/{TEXT_MODEL}",
        backend="litellm",
        backend_params={
            "base_url": f"{task.base_url}/v1beta",
            "max_requests_per_minute": task.rpm or 1_000_000,
            "max_tokens_per_minute": 1_000_000_000,
            "max_concurrent_requests": task.concurrency,
            "require_all_responses": False,
        },
    )
    rows = [{"n": n, "text": prompt(n)} for n in range(1, task.n + 1)]
    made = writer(rows, working_dir=str(task.out / "cache"))
    with open(task.out / "saved.jsonl", "w") as file:
        for row in made.dataset:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
