"""What a drawn scene can be made of, and the words for it."""

from typing import Final

RGB = tuple[int, int, int]

PALETTE: Final[dict[str, RGB]] = {
    "red": (212, 36, 40),
    "orange": (246, 128, 28),
    "yellow": (250, 216, 44),
    "green": (44, 158, 66),
    "blue": (36, 88, 208),
    "purple": (126, 56, 170),
    "pink": (246, 140, 190),
    "brown": (116, 70, 36),
    "black": (24, 24, 28),
    "white": (244, 244, 244),
    "grey": (140, 143, 148),
}

COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
COUNTS: Final = (1, 2, 3, 4)
BACKGROUNDS: Final = ("white", "grey", "black", "red", "yellow", "green", "blue", "purple")

NUMBER_WORDS: Final = {1: "one", 2: "two", 3: "three", 4: "four"}
PLURALS: Final = {"cross": "crosses"}
SYNONYMS: Final = {"circle": ("disc",), "cross": ("plus sign",), "moon": ("crescent",), "grey": ("gray",)}


def plural(noun: str) -> str:
    """Return the plural of an English noun of the vocabulary."""
    return PLURALS.get(noun, f"{noun}s")


def with_article(phrase: str) -> str:
    """Return the phrase after its indefinite article: "a red circle", "an orange star"."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"
