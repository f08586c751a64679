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
# # 5 · Quality assurance
#
# Every image is opened, every text is checked, near-duplicates are searched, and the set is looked at as a whole.
# `groundswell qa` does the same, and writes an HTML report.

# %%
import random
from collections import Counter
from statistics import mean, median

from workshop import bars, grid, out_dir, say, settings, show, thumbnail, told

from engine.cli.qa_command import summary as in_words
from engine.export import export
from engine.export.reading import RunReading
from engine.qa import Options, run_qa

chosen = settings()
OUT = out_dir(chosen)
report = run_qa(OUT, options=Options(config=chosen.config))
print(in_words(report, OUT))

# %% [markdown]
# ## The original report's numbers

# %%
for name, value in report.summary.items():
    print(f"{name}: {value}")
print(f"saved in {OUT / 'qa' / 'report.json'}")

# %% [markdown]
# ## Labels
#
# A label that nearly all images carry, or none, says that the set is out of balance.

# %%
items = list(RunReading(OUT))
spread: dict[str, Counter[str]] = {}
for item in items:
    for category, value in (item.labels or {}).items():
        for each in value if isinstance(value, list) else [value]:
            spread.setdefault(category, Counter())[str(each)] += 1
bars(spread, "05_labels")

# %% [markdown]
# ## Captions

# %%
captions = [item.caption for item in items if item.caption]
lengths = [len(c) for c in captions]
words = [len(c.split()) for c in captions]
for name, values in (("characters", lengths), ("words", words)):
    if values:
        print(f"{name}: mean {mean(values):.1f}, median {median(values):g}, {min(values)} to {max(values)}")
bars(
    {
        "characters in a caption": Counter(f"{n // 20 * 20}–{n // 20 * 20 + 19}" for n in lengths),
        "words in a caption": Counter(f"{n // 5 * 5}–{n // 5 * 5 + 4}" for n in words),
    },
    "05_caption_length",
    columns=2,
)

# %% [markdown]
# ## Duplicates and images with findings

# %%
print(f"{report.duplicates['num_duplicates']} pairs of near-duplicates")
for pair in report.duplicates["duplicate_pairs"][:10]:
    print(f"  {pair['image1']} and {pair['image2']}, {pair['similarity']} % alike")
for flag, count in report.flags.items():
    print(f"{count:>6} {flag.replace('_', ' ')}")
if not report.flags:
    print("no findings")

# %% [markdown]
# ## Your own eyes
#
# A random sample for five questions: image quality, fit to the theme, caption, labels, comments. `groundswell review`
# opens a page for it that keeps your decisions; here they are only shown.

# %%
sample = random.Random(5).sample(items, min(len(items), max(10, round(0.05 * len(items)))))
for item in sample[:3]:
    show(thumbnail(item.path, 512), f"05_{item.image.image_id}")
    say(f"prompt: {item.image.prompt[:200]}…")
    say(f"caption: {item.caption}")
    say("labels: " + "; ".join(f"{category} {told(value)}" for category, value in (item.labels or {}).items()))
    for comment in (item.comments or ())[:3]:
        say(f"“{comment}”", "  ")
    print()
grid([item.path for item in sample], "05_sample", columns=4)

# %% [markdown]
# ## Is it ready?

# %%
quality = report.summary["dataset_quality"]
print(f"{quality}, score {report.score:.0f} of 100, {report.critical} critical findings")
for action in report.actions:
    say(f"{action.priority}: {action.title}. {action.reason}")
    if action.command:
        print(f"    {action.command}")

# %% [markdown]
# ## For the next steps
#
# Texts for embeddings and the graph of images that share labels. `groundswell export` has more formats, such as
# Hugging Face, WebDataset and Croissant.

# %%
(written,) = export(OUT, ["downstream"], OUT.with_name(OUT.name + "_downstream"))
print(written.path)
print(", ".join(f"{n:,} {what}" for what, n in written.counts.items()))

# %% [markdown]
# Whoever publishes or shows these images says that they are synthetic and fictional: `docs/ethics.md`.
