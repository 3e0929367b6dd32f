"""The words of the page, one file per language: none missing, none left over, the same values filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from usert.runtime import view

RUNTIME = Path(view.__file__).parents[1]
STATIC = RUNTIME / "view" / "static"
LANGUAGES = ("en", "fr", "de", "es", "zh")
PAGE = {
    path.name: path.read_text(encoding="utf-8")
    for path in STATIC.glob("*.*")
    if path.suffix in (".js", ".html")
}
FORMS = {"one", "many", "other"}
"""Forms by number that these languages have; each text has `other`."""


def texts(words: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Each key with its forms; a text without forms has only `other`."""
    for name, value in words.items():
        if isinstance(value, str):
            yield path + name, {"other": value}
        elif set(value) <= FORMS:
            yield path + name, value
        else:
            yield from texts(value, f"{path}{name}.")


def words(language: str) -> dict[str, dict[str, str]]:
    return dict(texts(json.loads((STATIC / f"words-{language}.json").read_text(encoding="utf-8"))))


ENGLISH = words("en")


def used() -> tuple[set[str], set[str]]:
    """Keys that the page asks for, and beginnings of keys whose end is chosen as it runs."""
    text = "\n".join(PAGE.values())
    whole = set(re.findall(r"data-word(?:-\w+)?=\"([\w.]+)\"", text))
    whole |= {one for one in re.findall(r"'([a-z]\w*(?:\.\w+)+)'", text) if one in ENGLISH}
    whole |= set(re.findall(r"\bsay\('([\w.]+)'", text))
    return whole, {one for one in re.findall(r"`([a-z]\w*(?:\.\w+)*[._]\w*)\$\{", text) if "." in one}


def test_every_language_has_a_file_and_every_file_is_offered() -> None:
    offered = re.search(r"LANGUAGES = \{(.*?)\}", PAGE["language.js"])
    assert offered is not None
    assert tuple(re.findall(r"(\w\w):", offered[1])) == LANGUAGES
    assert {path.stem for path in STATIC.glob("words-*.json")} == {f"words-{one}" for one in LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_no_word_is_missing_and_none_is_superfluous(language: str) -> None:
    assert set(words(language)) == set(ENGLISH)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_is_empty_and_each_has_a_form_for_any_number(language: str) -> None:
    for key, forms in words(language).items():
        assert "other" in forms, key
        assert all(text.strip() == text and text for text in forms.values()), key


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_the_same_values_are_filled_in(language: str) -> None:
    def holes(forms: dict[str, str]) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", " ".join(forms.values())))

    other = words(language)
    assert {key: holes(other[key]) for key in ENGLISH} == {key: holes(ENGLISH[key]) for key in ENGLISH}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_line_of_a_region_says_once_that_it_is_a_ratio(language: str) -> None:
    """What stands in it for {ratio} says so itself, or what else the region is for."""
    of = words(language)
    word = of["regions.ratio"]["other"].replace("{value}", "").strip()
    assert word not in of["regions.line"]["other"].replace("{ratio}", "")


def test_every_word_that_the_page_asks_for_is_there() -> None:
    whole, beginnings = used()
    assert whole - set(ENGLISH) == set()
    assert {one for one in beginnings if not any(key.startswith(one) for key in ENGLISH)} == set()


def test_every_word_is_used() -> None:
    """By its key, which the server may send; or by a beginning whose end is a name in the source of page or server."""
    whole, beginnings = used()
    source = "\n".join([*PAGE.values(), *(path.read_text("utf-8") for path in RUNTIME.rglob("*.py"))])
    whole |= set(re.findall(r"[\"']([a-z]\w*(?:\.\w+)+)[\"']", source))
    names = set(re.findall(r"[\w-]+", source))

    def is_used(key: str) -> bool:
        if key.startswith("keyboard."):
            name = key.partition(".")[2]
            return f"{{{name}}}" in PAGE["keys.js"] or f"'{name}'" in PAGE["pedals.js"]
        ends = (key.removeprefix(one) for one in beginnings if key.startswith(one))
        return key in whole or any(end in names for end in ends)

    assert [key for key in ENGLISH if not is_used(key)] == []


@pytest.mark.parametrize("name", ["index.html", "image.html"])
def test_no_words_are_left_in_the_markup(name: str) -> None:
    """Text between tags is a sign or a letter, but for the name of the page and what is said without scripts."""
    bare = re.findall(r">([^<>]*[A-Za-zÀ-ÿ]{2}[^<>]*)<", PAGE[name])
    assert set(bare) <= {"usert live", "usert image", "This page needs JavaScript.", "mm²"}
    assert re.findall(r" (?:title|aria-label|placeholder|alt)=", PAGE[name]) == []


def test_no_sentences_are_left_in_the_scripts() -> None:
    """Strings of two words or more, but for errors of programming and what is no text."""
    pattern = re.compile(r"(?<!\w)(['\"`])([A-Z][a-z]+ [a-z][^'\"`\n]*)\1")
    assert {
        name: found for name, text in PAGE.items() if (found := [two for _, two in pattern.findall(text)])
    } == {}
