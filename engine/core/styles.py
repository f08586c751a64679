"""How each configured style looks: medium, lens and light to open with, and a finish to close with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct


class Style(Struct, frozen=True):
    """The vocabulary of one style. With their article, leading to "shows"."""

    openings: tuple[str, ...]
    screens: tuple[str, ...]
    """Openings for a scene on a phone or a poster; with their article, leading to "shows"."""
    light: tuple[str, ...]
    """Light to name when no time of day is told."""
    finishes: tuple[str, ...]
    details: tuple[str, ...]
    """Further finish for complex prompts."""


STYLES: Final[Mapping[str, Style]] = {
    "realistic": Style(
        openings=(
            "A realistic wide-angle photograph on a 24mm lens",
            "A true-to-life eye-level photograph on a 35mm lens",
            "A realistic medium shot on a 50mm lens",
            "A realistic high-angle photograph on a 28mm lens",
            "A true-to-life photograph on an 85mm lens, taken from across the way,",
        ),
        screens=(
            "A realistic close-up photograph on an 85mm lens",
            "A true-to-life over-the-shoulder photograph on a 50mm lens",
            "A realistic top-down photograph on a 35mm lens",
        ),
        light=("soft, even light", "gentle side light", "clear, neutral light"),
        finishes=(
            "Colours are natural, textures of cloth and stone are crisp, and focus reaches from front to back",
            "Skin, fabric and paper look tangible, with natural colour and moderate depth of field",
            "The exposure is balanced, the colours are true and small details stay legible",
        ),
        details=(
            "Scuffed shoes, creased paper and uneven tape on the signs give away how quickly everything was made",
            "Reflections, dust and the wear of daily use are visible on every surface",
        ),
    ),
    "artistic": Style(
        openings=(
            "An expressive gouache painting in a wide composition",
            "A bold linocut print in three colours, from a low viewpoint,",
            "A loose oil painting with a deep diagonal composition",
            "A watercolour and ink drawing from a raised viewpoint",
            "A layered paper-collage illustration in close framing",
        ),
        screens=(
            "A flat graphic illustration in close framing",
            "A risograph-style print in two colours",
            "A paper-collage still life from above",
        ),
        light=("broad, simplified light", "soft, diffuse light", "strong contrast of light and dark"),
        finishes=(
            "Brushwork stays visible, shapes are simple and a palette of ochre, teal and brick red holds it together",
            "Edges are rough, colour lies in flat planes and rhythm matters more than detail",
            "The palette is warm and restrained, and repeated shapes lead the eye through the crowd",
        ),
        details=(
            "Figures dissolve into pattern towards the edges while the centre stays precise",
            "Grain of the paper shows through, and a few lines are left deliberately unfinished",
        ),
    ),
    "documentary": Style(
        openings=(
            "An unposed documentary photograph on a 35mm lens",
            "A quiet documentary wide shot on a 28mm lens",
            "A black-and-white documentary photograph on a 50mm lens",
            "A documentary photograph on a 40mm lens from within the crowd",
            "A medium-format documentary photograph with an 80mm lens",
        ),
        screens=(
            "An unposed documentary photograph on a 50mm lens",
            "A plain documentary detail shot on a 40mm lens",
            "A black-and-white documentary close-up on an 80mm lens",
        ),
        light=("soft available light", "plain, undirected light", "diffuse available light"),
        finishes=(
            "Nobody poses; the frame is a little untidy, with fine grain and honest tones",
            "The framing is patient and level, tones are gentle and grain is fine",
            "It feels observed rather than arranged, with subdued contrast and visible grain",
        ),
        details=(
            "Hands, worn tools and half-turned faces carry as much meaning as the banners",
            "At the edge of the frame someone looks straight at the camera, neither friendly nor hostile",
        ),
    ),
    "photojournalistic": Style(
        openings=(
            "A wide photojournalistic photograph on a 24mm lens",
            "A photojournalistic telephoto shot on a 200mm lens",
            "A photojournalistic medium shot on a 35mm lens, close to the action,",
            "A photojournalistic photograph on a 70mm lens, shot over heads,",
            "A low-angle photojournalistic photograph on a 20mm lens",
        ),
        screens=(
            "A photojournalistic close-up on an 85mm lens",
            "A photojournalistic detail shot on a 50mm lens",
            "A photojournalistic over-the-shoulder shot on a 35mm lens",
        ),
        light=("hard available light", "uneven available light", "neutral, direct light"),
        finishes=(
            "The decisive moment is sharp, the background falls away and a slight motion blur remains at the edges",
            "Focus sits on one gesture in the middle distance, with high contrast and visible grain",
            "Composition is tight and layered: foreground shoulder, sharp middle, soft distance",
        ),
        details=(
            "A raised arm cuts across the foreground, out of focus, and pulls the viewer in",
            "The frame tells who acts, who watches and who waits, at a single glance",
        ),
    ),
}
