"""Sentences for a scene: whole descriptions and partial ones, in varied wording."""

from random import Random
from typing import NamedTuple

from embedder.demo.vocabulary import NUMBER_WORDS, SYNONYMS, plural, with_article

_OPENINGS = ("", "", "", "", "a picture of ", "an image of ", "a photo of ", "a drawing of ")


class Caption(NamedTuple):
    """A sentence, and which attributes of the scene it names."""

    text: str
    names: frozenset[str]


def canonical(colour: str, shape: str, count: int, background: str) -> str:
    """Return the plain description: "a red circle on a blue background"."""
    noun = shape if count == 1 else plural(shape)
    counted = with_article(f"{colour} {noun}") if count == 1 else f"{NUMBER_WORDS[count]} {colour} {noun}"
    return f"{counted} on {with_article(background)} background"


def word(attributes: dict[str, str], count: int, names: frozenset[str], rng: Random) -> Caption:
    """Return one wording that tells the named attributes and no others.

    `attributes` holds the words for colour, shape and background; `names` is any non-empty
    subset of those three and "count".
    """
    ground = _vary(attributes["background"], rng) if "background" in names else ""
    if not names - {"background"}:
        return Caption(rng.choice((f"{with_article(ground)} background", f"{ground} background")), names)
    things = _things(attributes, count, names, rng)
    if not ground:
        return Caption(rng.choice(_OPENINGS) + things, names)
    text = rng.choice(
        (
            f"{things} on {with_article(ground)} background",
            f"{things} on {with_article(ground)} background",
            f"{things} on {ground}",
            f"{things}, {ground} background",
            f"{with_article(ground)} background with {things}",
        )
    )
    return Caption(rng.choice(_OPENINGS) + text, names)


def _things(attributes: dict[str, str], count: int, names: frozenset[str], rng: Random) -> str:
    """Return the counted noun phrase: "three green stars", "a star", "red shapes"."""
    noun = _vary(attributes["shape"], rng) if "shape" in names else "shape"
    colour = f"{_vary(attributes['colour'], rng)} " if "colour" in names else ""
    if "count" in names:
        if count > 1:
            return f"{rng.choice((NUMBER_WORDS[count], NUMBER_WORDS[count], str(count)))} {colour}{plural(noun)}"
        single = f"{colour}{noun}"
        return rng.choice((with_article(single), with_article(single), f"one {single}", f"1 {single}"))
    # Without a number people write either form, whatever they look for.
    return f"{colour}{plural(noun) if rng.random() < 0.5 else noun}"


def _vary(name: str, rng: Random) -> str:
    """Return the word itself, or now and then a synonym."""
    return rng.choice(SYNONYMS[name]) if name in SYNONYMS and rng.random() < 0.2 else name
