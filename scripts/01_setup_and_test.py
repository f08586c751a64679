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
# # 1 · Setup and test
#
# Is everything there: packages, configuration, key, connection, models, disk? What will it cost?
# `groundswell doctor` and `groundswell estimate` say the same in a terminal.
#
# Each of these five runs three ways: `python scripts/01_setup_and_test.py`, cell by cell in an editor, or as a
# notebook (`jupytext --to ipynb scripts/0*.py`). Without an API key they use the built-in simulator: every step works,
# the pictures are drawn by a program, and nothing is paid.

# %%
import os
from datetime import UTC, datetime
from pathlib import Path

from workshop import gemini, has_key, say, settings, show, thumbnail, wait

from engine.runtime.doctor import examine
from engine.runtime.estimate import estimate

# %% [markdown]
# ## The configuration
#
# The nearest `config/generation_config.yaml`, here or in a folder above; `groundswell init` writes one. Problems are
# told all at once, each with its line and what to write instead.

# %%
chosen = settings()
config = chosen.config
print(f"{chosen.path or 'built-in defaults'}")
print(f"{config.generation.num_images} images with {config.generation.model}, {config.generation.resolution}")
print(f"captions, labels and comments by {config.metadata.model}")
for warning in chosen.warnings:
    print(f"! {warning}")

# %% [markdown]
# ## The examination
#
# With `LIVE = True` it also makes one test image and one test caption. With a key that costs about four cents.

# %%
SIMULATE = not has_key(chosen)
LIVE = SIMULATE
MARKS = {"ok": "✓", "warn": "!", "fail": "✗", "skip": "·"}


def tell(check):
    say(f"{MARKS[check.status]} {check.name}: {check.detail}")
    if check.next_step:
        say(f"→ {check.next_step}", "    ")


with gemini(simulate=SIMULATE) as reach:
    found = wait(
        examine(
            chosen,
            environ=os.environ,
            now=datetime.now(UTC).astimezone(),
            live=LIVE,
            live_dir=chosen.base_dir / "data" / "doctor",
            on_check=tell,
            **reach,
        )
    )
if not found.works:
    print("\nA run could not work yet: see the lines marked ✗.")
elif SIMULATE:
    print("\nReady to simulate. For pictures of Gemini copy config/.env.example to config/.env and put a key there,")
    print("from https://aistudio.google.com/apikey; nothing else changes.")
else:
    print("\nReady.")

# %% [markdown]
# ## The test image

# %%
if found.live is not None and found.live.image_path:
    show(thumbnail(Path(found.live.image_path), 512), "01_test_image")
    say(found.live.caption or "no caption")

# %% [markdown]
# ## The models this key can use

# %%
for model in found.models:
    kind = {True: "images", False: "text"}.get(model.draws, "?")
    print(f"{model.name:<32} {kind:<7} {model.configured_as or ''}")

# %% [markdown]
# ## What it costs
#
# Prices are dated; `groundswell estimate` compares models, sizes and batch mode.

# %%
costs = estimate(config, today=datetime.now(UTC).date())
print(f"{'images':>8} {'pictures':>10} {'metadata':>10} {'total':>10}   (USD, prices of {costs.prices_as_of})")
for row in costs.sums:
    money = [f"{usd:10.2f}" if usd is not None else f"{'unknown':>10}" for usd in
             (row.image_usd, row.metadata_usd, row.total_usd)]  # fmt: skip
    print(f"{row.images:>8}", *money)
for remark in costs.remarks:
    say(f"- {remark}")

# %% [markdown]
# Something is wrong? `docs/troubleshooting.md` has the errors people meet, each with its way out.
#
# Next: `02_prepare_source_data.py`.
