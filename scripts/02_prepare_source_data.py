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
# # 2 · Source data
#
# Every prompt combines three contexts: fictional news of Atropia, synthetic people of the World Bank's imaginary
# country, and visual references. Bundled samples are used until the configuration names files of your own
# (`source_data.*.path`). `groundswell sources` says the same in a terminal.

# %%
from workshop import bars, say, settings

from engine.sources.preview import preview

chosen = settings()
found = preview(chosen.config, chosen.base_dir, 8)

# %% [markdown]
# ## Where the sources came from

# %%
for origin in found.origins:
    print(f"{origin.name}: {origin.path}")
    say(f"{origin.kind}; {origin.items:,} of {origin.found:,} used; {origin.licence}", "  ")
    for note in origin.notes:
        say(note, "  ")
for warning in (*chosen.warnings, *found.warnings):
    say(f"! {warning}")

# %% [markdown]
# ## News by theme

# %%
bars({"news by theme": found.themes, "visual guides by kind": found.guides}, "02_themes", columns=2)

# %% [markdown]
# ## People
#
# Shares are weighted: each row of the survey stands for many people, and prompts draw through these weights.

# %%
bars(found.demographics, "02_demographics")

# %% [markdown]
# ## Combinations and their prompts
#
# Prompt *i* depends on the seed, the configuration and *i* alone: it can be looked at before anything is generated.

# %%
print(f"{found.combinations:,} combinations of theme, setting, news and guide before one comes again")
print(f"{found.words['min']:.0f} to {found.words['max']:.0f} words per prompt\n")
for prompt in found.prompts:
    news, people = prompt.source_data["atropia"], prompt.source_data["demographics"]
    print(f"{prompt.index}. {news['title']} ({news['date']})")
    if people:
        say(", ".join(str(people[k]) for k in ("age_group", "occupation", "setting") if people.get(k)), "   ")
    say(prompt.text, "      ")
    print()

# %% [markdown]
# Next: `03_generate_images.py`.
