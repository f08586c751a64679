"""Structured text for any requested JSON schema: deterministic, plausible, always valid.

The words come from the scene (`scenes`), the shape from the schema. Member names steer the words:
a `caption` is a sentence about the scene, `comments` sound like people, labels name what is seen.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import orjson

from engine.simulator.scenes import Scene

_DEPTH_MAX = 24
_ITEMS_MAX = 64
Schema = dict[str, Any]

_PLACES = {
    "city": "in a city centre",
    "square": "on a town square",
    "campus": "on a university campus",
    "government": "in front of a government building with tall columns",
    "park": "in a public park",
    "street": "along a wide street",
    "market": "between market stalls",
    "rural": "on a field at the edge of a village",
}
_TIMES = {"dawn": "at dawn", "day": "by day", "dusk": "at dusk", "night": "at night"}
_ACTIONS = {
    "march": "walk together",
    "rally": "hold up placards",
    "vigil": "stand quietly with small lights",
    "strike_picket": "stand in a picket line",
    "sit_in": "sit close together",
    "voting_queue": "wait in a long queue",
    "community_meeting": "listen and talk",
}
_OPENINGS = ("An illustrated", "A stylised", "A drawn", "A simulated")
_COMMENTS = {
    "supportive": (
        "So proud of everyone who came out {time}. This is what {mood} looks like.",
        "Standing with all of you. Keep going!",
        "My aunt is somewhere in that crowd. Love to see it.",
    ),
    "critical": (
        "And what exactly changes tomorrow? I'd like to see a plan, not just banners.",
        "Half the town could not get to work because of this.",
        "Nice picture, but who speaks for those who stayed at home?",
    ),
    "emotional": (
        "I did not expect to cry over a picture today.",
        "Look at their faces... I felt that in my chest.",
        "This gives me goosebumps, every single time.",
    ),
    "informational": (
        "For those asking: people gathered {place} {time}, about {crowd} by my count.",
        "The road is closed until late, take the ring road instead.",
        "There is water and first aid near the entrance.",
    ),
    "questioning": ("Does anyone know who organised this?", "Was this today or last week?"),
}
_HASHTAGS = ("#together", "#WeAreHere", "#community", "#voices", "#solidarity")
_EMOJIS = ("✊", "❤️", "🙏", "👏", "🕯️")


class _Writer:
    def __init__(self, scene: Scene, text: str) -> None:
        self.scene = scene
        lower = text.lower()
        self.hashtags = "hashtag" in lower and not re.search(r"(no|without) hashtag", lower)
        self.emojis = "emoji" in lower and not re.search(r"(no|without) emoji", lower)

    def _chance(self, path: str) -> random.Random:
        return random.Random(f"{self.scene.seed}:{path}")

    def caption(self, path: str) -> str:
        chance = self._chance(path)
        scene = self.scene
        people = "A small group of people" if scene.crowd < 25 else f"A crowd of around {_rounded(scene.crowd)} people"
        shown = ", ".join(scene.subjects[:2])
        sentences = (
            f"{chance.choice(_OPENINGS)} scene {_PLACES[scene.setting]} {_TIMES[scene.time]}, where "
            f"{people[0].lower()}{people[1:]} {_ACTIONS[scene.form]}.",
            f"{people} {_ACTIONS[scene.form]} {_PLACES[scene.setting]} {_TIMES[scene.time]}.",
            f"{_TIMES[scene.time].capitalize()}, {people[0].lower()}{people[1:]} {_ACTIONS[scene.form]} "
            f"{_PLACES[scene.setting]}.",
        )
        more = (
            f"The mood is {scene.mood}, with {shown} in view.",
            f"Visible are {shown}; the weather is {scene.weather}.",
            f"In front stand {shown}.",
        )
        return f"{chance.choice(sentences)} {chance.choice(more)}"

    def comment(self, path: str) -> str:
        chance = self._chance(path)
        number = re.search(r"(\d+)\D*$", path)
        stances = list(_COMMENTS)
        stance = stances[int(number[1]) % len(stances)] if number else chance.choice(stances)
        scene = self.scene
        text = chance.choice(_COMMENTS[stance]).format(
            time=_TIMES[scene.time], place=_PLACES[scene.setting], mood=scene.mood, crowd=_rounded(scene.crowd)
        )
        if self.emojis and chance.random() < 0.5:
            text += f" {chance.choice(_EMOJIS)}"
        if self.hashtags and chance.random() < 0.6:
            text += " " + " ".join(chance.sample(_HASHTAGS, chance.randint(1, 2)))
        return text

    def words(self, path: str) -> str:
        """Text for a member, by what its name says; array positions are ignored."""
        scene, chance = self.scene, self._chance(path)
        names = [p for p in path.lower().split("/") if p and not p.isdigit()]
        name = names[-1] if names else ""
        for needle, text in (
            ("hashtag", chance.choice(_HASHTAGS)),
            ("emoji", chance.choice(_EMOJIS)),
            ("stance", chance.choice(list(_COMMENTS))),
            ("language", "en"),
            ("digital", "SIMULATED"),
            ("readable", "SIMULATED"),
            ("subject", self._subject(path)),
            ("weather", scene.weather),
            ("time", scene.time),
            ("setting", _PLACES[scene.setting].split(" ", 1)[1].removeprefix("a ")),
            ("place", _PLACES[scene.setting].split(" ", 1)[1]),
            ("location", _PLACES[scene.setting].split(" ", 1)[1]),
            ("crowd", f"around {_rounded(scene.crowd)} people"),
            ("sentiment", scene.mood),
            ("mood", scene.mood),
            ("activity", _ACTIONS[scene.form]),
            ("scene", scene.form.replace("_", " ")),
        ):
            if needle in name:
                return text
        if any("comment" in n for n in names):
            return self.comment(path)
        if any(word in n for n in names for word in ("caption", "description", "alt", "summary", "text", "observ")):
            return self.caption(path)
        if not name:
            return self.caption(path)
        return self._subject(path)

    def _subject(self, path: str) -> str:
        number = re.search(r"(\d+)$", path)
        subjects = self.scene.subjects
        return subjects[int(number[1]) % len(subjects)] if number else self._chance(path).choice(subjects)

    # The shape.

    def value(self, schema: Any, root: Schema, path: str, depth: int = 0) -> Any:
        if depth > _DEPTH_MAX:
            return None
        if not isinstance(schema, dict):
            return self.words(path)
        if "$ref" in schema:
            return self.value(_resolve(root, schema["$ref"]), root, path, depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._pick(schema["enum"], path)
        for key in ("anyOf", "oneOf", "any_of"):
            if schema.get(key):
                options = [o for o in schema[key] if _type(o) != "null"] or schema[key]
                shallow = [o for o in options if not _recursive(o)] if depth > 6 else options
                return self.value(self._chance(f"{path}?").choice(shallow or options), root, path, depth + 1)
        if schema.get("allOf"):
            merged: Schema = {k: v for k, v in schema.items() if k != "allOf"}
            for part in schema["allOf"]:
                merged = _merge(merged, _resolve(root, part["$ref"]) if "$ref" in part else part)
            return self.value(merged, root, path, depth + 1)
        return self._typed(schema, root, path, depth)

    def _typed(self, schema: Schema, root: Schema, path: str, depth: int) -> Any:
        match _type(schema):
            case "object":
                return self._members(schema, root, path, depth)
            case "array":
                return self._items(schema, root, path, depth)
            case "integer":
                return int(self._number(schema, path, whole=True))
            case "number":
                return self._number(schema, path, whole=False)
            case "boolean":
                return self._chance(path).random() < 0.5
            case "null":
                return None
            case _:
                return self._string(schema, path)

    def _members(self, schema: Schema, root: Schema, path: str, depth: int) -> Schema:
        members: Schema = schema.get("properties") or {}
        order: Sequence[str] = schema.get("propertyOrdering") or list(members)
        required = schema.get("required")
        names = [n for n in order if n in members] + [n for n in members if n not in order]
        if depth > _DEPTH_MAX // 2 and required is not None:
            names = [n for n in names if n in required]
        answer = {n: self.value(members[n], root, f"{path}/{n}", depth + 1) for n in names}
        for name in required or ():
            answer.setdefault(name, self.words(f"{path}/{name}"))
        return answer

    def _items(self, schema: Schema, root: Schema, path: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems", schema.get("min_items", 0)) or 0)
        most = schema.get("maxItems", schema.get("max_items"))
        most = int(most) if most is not None else max(least, 3)
        if depth > _DEPTH_MAX // 2:
            most = least
        count = self._chance(path).randint(min(max(least, 1), most), min(most, max(least, _ITEMS_MAX)))
        prefix: list[Any] = schema.get("prefixItems") or []
        item: Any = schema.get("items") or {"type": "string"}
        values: list[Any] = []
        for i in range(max(count, len(prefix))):
            value = self.value(prefix[i] if i < len(prefix) else item, root, f"{path}/{i}", depth + 1)
            if schema.get("uniqueItems") and value in values:
                value = self._other(item, values, f"{path}/{i}")
            values.append(value)
        return values

    def _other(self, item: Any, taken: list[Any], path: str) -> Any:
        options = [v for v in item.get("enum", ()) if v not in taken] if isinstance(item, dict) else []
        return options[0] if options else f"{self.words(path)} ({len(taken) + 1})"

    def _pick(self, values: Sequence[Any], path: str) -> Any:
        words = self.scene.words
        fitting = [v for v in values if isinstance(v, str) and v.lower().replace(" ", "_") in words]
        if fitting:
            return fitting[0]
        spans = [v for v in values if isinstance(v, str) and _holds(v, self.scene.crowd)]
        if spans:
            return spans[0]
        return self._chance(path).choice(list(values))

    def _number(self, schema: Schema, path: str, *, whole: bool) -> float:
        low = schema.get("minimum")
        high = schema.get("maximum")
        step = 1.0 if whole else 0.01
        if low is None and isinstance(schema.get("exclusiveMinimum"), int | float):
            low = schema["exclusiveMinimum"] + step
        if high is None and isinstance(schema.get("exclusiveMaximum"), int | float):
            high = schema["exclusiveMaximum"] - step
        low = float(low) if low is not None else (float(high) - 10 if high is not None and float(high) < 0 else 0.0)
        high = float(high) if high is not None else low + (10 if whole else 1)
        unit = schema.get("multipleOf")
        drawn = self._chance(path).uniform(low, high)
        if unit:
            drawn = float(unit) * round(drawn / float(unit))
            return drawn if low <= drawn <= high else float(unit) * -(-low // float(unit))
        return float(round(drawn)) if whole else round(drawn, 3)

    def _string(self, schema: Schema, path: str) -> str:
        match schema.get("format"):
            case "date-time":
                return "2026-01-21T12:00:00Z"
            case "date":
                return "2026-01-21"
            case "time":
                return "12:00:00Z"
            case "duration":
                return "PT1H"
            case _:
                text = self.words(path)
        least = int(schema.get("minLength", schema.get("min_length", 0)) or 0)
        most = schema.get("maxLength", schema.get("max_length"))
        while len(text) < least:
            text += f" {self.caption(f'{path}+{len(text)}')}"
        return text[: max(int(most), least)].rstrip() or "-" if most is not None else text


def _resolve(root: Schema, reference: str) -> Any:
    node: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, dict) else {}
    return node


def _merge(one: Schema, other: Schema) -> Schema:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *other["required"]]
    return merged


def _type(schema: Any) -> str:
    """The type in lower case (OpenAPI writes STRING), guessed from other keywords where it is absent."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if isinstance(kind, str):
        return kind.lower()
    if isinstance(schema, dict) and "properties" in schema:
        return "object"
    return "array" if isinstance(schema, dict) and ("items" in schema or "prefixItems" in schema) else "string"


def _recursive(schema: Any) -> bool:
    return isinstance(schema, dict) and ("$ref" in schema or _type(schema) in ("object", "array"))


def _holds(span: str, crowd: int) -> bool:
    """Whether a value such as "21-100" or ">1000" holds the number."""
    if match := re.fullmatch(r"(\d+)\s*[-–]\s*(\d+)", span):
        return int(match[1]) <= crowd <= int(match[2])
    if match := re.fullmatch(r">\s*(\d+)|(\d+)\+", span):
        return crowd > int(match[1] or match[2])
    return False


def _rounded(count: int) -> int:
    return count if count < 20 else round(count, -1) if count < 200 else round(count, -2)


def answer_value(schema: Any, scene: Scene, text: str = "") -> Any:
    """A JSON value that satisfies the schema, about the scene. `text` is the request's own words."""
    return _Writer(scene, text).value(schema, schema if isinstance(schema, dict) else {}, "")


def answer_text(schema: Any, scene: Scene, text: str = "", *, as_json: bool) -> str:
    """The text of a candidate: JSON for the schema, free JSON without one, else a caption."""
    writer = _Writer(scene, text)
    if schema is not None:
        return orjson.dumps(answer_value(schema, scene, text)).decode()
    if as_json:
        return orjson.dumps({"caption": writer.caption("caption"), "comments": [writer.comment("comments/0")]}).decode()
    return writer.caption("caption")
