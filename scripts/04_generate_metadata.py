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
# # 4 · Captions, labels and comments
#
# A text model looks at each image and answers against a schema made of the configured label categories. Images that
# have their texts are not asked about again. `groundswell run` does this while images are still coming.

# %%
import random

from workshop import Progress, finish, gemini, has_key, out_dir, say, settings, show, thumbnail, told, wait

import engine
from engine.export import export
from engine.export.reading import RunReading

chosen = settings()
config, OUT = chosen.config, out_dir(chosen)
SIMULATE = not has_key(chosen)
wanted = config.metadata
print(f"{', '.join(wanted.tasks)} by {wanted.model}; {wanted.num_comments_per_image} comments per image")
say(f"labels: {', '.join(wanted.label_categories)}")

# %% [markdown]
# ## Generate

# %% tags=["active-ipynb"]
# with gemini(simulate=SIMULATE) as reach:
#     summary = await finish(engine.open_run(OUT, config, stages=["metadata"], observer=Progress(OUT), **reach))

# %% tags=["active-py"] jupyter={"source_hidden": true}
with gemini(simulate=SIMULATE) as reach:
    summary = wait(finish(engine.open_run(OUT, config, stages=["metadata"], observer=Progress(OUT), **reach)))

# %%
metadata = summary.metadata
print(f"{metadata.ok} of {metadata.asked} answers, {metadata.refused} refused, {metadata.failed} failed")
print(f"${summary.cost_usd:.4f} for images and texts so far")
if summary.stopped_by:
    say(f"stopped: {summary.message or summary.stopped_by}; run the cell again to continue")

# %% [markdown]
# ## Three of them

# %%
made = [item for item in RunReading(OUT) if item.caption]
for item in random.Random(3).sample(made, min(3, len(made))):
    show(thumbnail(item.path, 384), f"04_{item.image.image_id}")
    say(item.caption)
    for category, value in (item.labels or {}).items():
        say(f"{category}: {told(value)}", "  ")
    for comment in item.comments or ():
        say(f"“{comment}”", "  ")
    print()

# %% [markdown]
# ## Is it complete?

# %%
total = len(RunReading(OUT))
for name, having in (
    ("captions", sum(item.caption is not None for item in RunReading(OUT))),
    ("labels", sum(item.labels is not None for item in RunReading(OUT))),
    ("comments", sum(item.comments is not None for item in RunReading(OUT))),
):
    print(f"{name:<9} {having} of {total} ({100 * having / max(1, total):.1f} %)")

# %% [markdown]
# ## Files and tables
#
# The original pipeline's tree: one JSON file per image and kind, `all_captions.csv`, `all_labels.csv`,
# `all_comments.csv`, `generation_log.json`. Pictures are hard links and take no room.

# %%
(written,) = export(OUT, ["workshop"], OUT.with_name(OUT.name + "_workshop"))
print(written.path)
print(", ".join(f"{n} {what}" for what, n in written.counts.items()))

# %% [markdown]
# Next: `05_quality_assurance.py`.
