# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3 · Generate images
#
# `groundswell run --stages image` in a terminal. Interrupt it whenever you like: every image is on disk when it is
# paid for, and the same cell carries on where it stopped. There is no checkpoint to keep and no RESUME flag.

# %%
import random
from datetime import UTC, datetime

from workshop import Progress, finish, gemini, grid, has_key, out_dir, say, settings, wait

import engine
from engine.export.reading import RunReading
from engine.runtime.estimate import estimate
from engine.runtime.status import read_status
from engine.sources.preview import preview

# %% [markdown]
# ## Settings
#
# What stands here wins over the configuration file, for this run only.

# %%
OVERRIDES = {
    # "generation.num_images": 20,
    # "budget.usd": 1.0,
}
chosen = settings(**OVERRIDES)
config, OUT = chosen.config, out_dir(chosen)
SIMULATE = not has_key(chosen)
print(f"{config.generation.num_images} images with {config.generation.model} into {OUT}")

# %% [markdown]
# ## What it will cost

# %%
(sums,) = estimate(config, images=[config.generation.num_images], today=datetime.now(UTC).date()).sums
cost = "unknown" if sums.total_usd is None else f"${sums.total_usd:.2f} with metadata"
print(f"{sums.images} images: {cost}" + (" (nothing while simulating)" if SIMULATE else ""))

# %% [markdown]
# ## What will be asked

# %%
for prompt in preview(config, chosen.base_dir, 3).prompts:
    say(f"{prompt.index}. {prompt.text[:200]}…")
    print(f"   theme: {prompt.source_data['atropia']['theme']}")

# %% [markdown]
# ## Generate
#
# The engine runs on the notebook's own loop, with a plain `await`. Interrupt it with ■: calls that are paid for end, and
# the same cell carries on. (The folded cell is the same for `python scripts/03_generate_images.py`.)

# %% tags=["active-ipynb"]
# with gemini(simulate=SIMULATE) as reach:
#     summary = await finish(engine.open_run(OUT, config, stages=["image"], observer=Progress(OUT), **reach))

# %% tags=["active-py"] jupyter={"source_hidden": true}
with gemini(simulate=SIMULATE) as reach:
    summary = wait(finish(engine.open_run(OUT, config, stages=["image"], observer=Progress(OUT), **reach)))

# %% [markdown]
# ## What came of it

# %%
status = read_status(OUT)
images = status.images
print(f"{images.ok} of {images.asked} images, {images.refused} refused, {images.failed} failed")
print(f"{summary.elapsed_s:.0f} s this time, {summary.images_per_s * 60:.0f} images a minute")
if images.ok and sums.image_usd:
    real, guess = images.cost_usd / images.ok, sums.image_usd / sums.images
    print(f"${images.cost_usd:.2f} in all; ${real:.4f} per image, estimated ${guess:.4f}")
if summary.stopped_by:
    say(f"stopped: {summary.message or summary.stopped_by}; run the cell again to continue")

# %% [markdown]
# ## Six of them

# %%
made = list(RunReading(OUT))
picked = random.Random(6).sample(made, min(6, len(made)))
grid([item.path for item in picked], "03_samples")
for item in picked:
    print(f"{item.image.image_id}: {item.image.prompt[:80]}…")

# %% [markdown]
# Next: `04_generate_metadata.py`.
