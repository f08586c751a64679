"""NVIDIA Data Designer: an image column over a seed table, resumed by its own `IF_POSSIBLE`.

It has no Gemini provider; its OpenAI image route is led to the same server by `far.py`. The variant is its
buffer_size, which is also what a kill may cost: 1000 by default.
"""

from __future__ import annotations

import json

import data_designer.config as dd
import pandas
from data_designer.interface import DataDesigner
from work import prompt, work


def main() -> None:
    task = work()
    seeds = task.out / "seeds.parquet"
    if not seeds.exists():
        numbers = range(1, task.n + 1)
        pandas.DataFrame({"n": list(numbers), "text": [prompt(n) for n in numbers]}).to_parquet(seeds)
    provider = dd.ModelProvider(name="far", endpoint=f"{task.base_url}/v1", provider_type="openai", api_key="bench")
    model = dd.ModelConfig(
        alias="pictures",
        model="gpt-image-1",  # a name that chooses the image route; far.py asks the same Gemini model for it
        provider="far",
        inference_parameters=dd.ImageInferenceParams(max_parallel_requests=task.concurrency, timeout=120),
        skip_health_check=True,
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(seeds)))
    builder.add_column(dd.ImageColumnConfig(name="picture", prompt="{{ text }}", model_alias="pictures"))
    designer = DataDesigner(artifact_path=task.out / "artifacts", model_providers=[provider])
    sizes = {"buffer_size": int(task.variant)} if task.variant else {}
    designer.set_run_config(dd.RunConfig(disable_early_shutdown=True, **sizes))
    made = designer.create(builder, num_records=task.n, dataset_name="bench", resume=dd.ResumeMode.IF_POSSIBLE)
    with open(task.out / "saved.jsonl", "w") as file:
        for n, picture in made.load_dataset()[["n", "picture"]].itertuples(index=False):
            if len(picture):
                file.write(json.dumps({"n": int(n)}) + "\n")


main()
