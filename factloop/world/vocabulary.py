"""The entities and values of the world, and what is typical for each entity.

Every name is invented. Surnames, places and nouns are short common-looking words, so that a
tokenizer trained on the text keeps each one whole.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

FEMALE = ["Mara", "Ines", "Ruth", "Petra", "Lena", "Nora", "Iris", "Vera", "Clara", "Edith"]
MALE = ["Jonas", "Karel", "Hugo", "Oskar", "Felix", "Anton", "Bruno", "Emil", "Viktor", "Theo"]
SURNAMES = [
    "Velling",
    "Harrow",
    "Sandberg",
    "Okoye",
    "Lindqvist",
    "Marsh",
    "Tanaka",
    "Dorsey",
    "Falk",
    "Brandt",
    "Castell",
    "Nyman",
    "Quill",
    "Renner",
    "Soler",
    "Thorne",
    "Ulrich",
    "Wexler",
    "Yates",
    "Zoller",
]
PLACES = [
    "Ashford",
    "Belmora",
    "Carrick",
    "Dunmere",
    "Eastvale",
    "Fernhill",
    "Galway",
    "Hartlake",
    "Ivybridge",
    "Kelso",
    "Larkspur",
    "Marlow",
    "Northam",
    "Oldbury",
    "Penrose",
    "Quayside",
    "Redcliff",
    "Stonebeck",
    "Tarrant",
    "Upwell",
    "Verona",
    "Westmark",
    "Yarrow",
    "Zelton",
]
TEAMS = [
    "the " + name
    for name in [
        "Corvids",
        "Hawks",
        "Otters",
        "Rovers",
        "Lynxes",
        "Comets",
        "Herons",
        "Badgers",
        "Pilots",
        "Falcons",
        "Miners",
        "Stags",
        "Gulls",
        "Archers",
        "Wolves",
        "Rams",
        "Tigers",
        "Sabres",
        "Bears",
        "Foxes",
    ]
]
WORKS = [
    f"{first} {second}"
    for first, second in zip(
        [
            "Silent",
            "Broken",
            "Golden",
            "Winter",
            "Paper",
            "Hidden",
            "Crimson",
            "Hollow",
            "Distant",
            "Amber",
            "Iron",
            "Velvet",
            "Northern",
            "Salted",
            "Glass",
            "Borrowed",
            "Quiet",
            "Burning",
            "Second",
            "Empty",
        ],
        [
            "Harbour",
            "Mirror",
            "Orchard",
            "Letters",
            "Bridge",
            "Garden",
            "Tide",
            "Crown",
            "Signal",
            "River",
            "Lantern",
            "Road",
            "Station",
            "Island",
            "Tower",
            "Summer",
            "Kingdom",
            "Field",
            "Voyage",
            "Room",
        ],
        strict=True,
    )
]
COMPANIES = [
    f"{first} {second}"
    for first, second in zip(
        [
            "Brightwell",
            "Coldstream",
            "Fairmont",
            "Granite",
            "Highgate",
            "Juniper",
            "Keystone",
            "Lakeside",
            "Meridian",
            "Nordic",
            "Orchid",
            "Pinecrest",
            "Quantum",
            "Ridgeway",
            "Summit",
            "Trident",
        ],
        [
            "Mills",
            "Foods",
            "Press",
            "Motors",
            "Shipping",
            "Textiles",
            "Steel",
            "Papers",
            "Optics",
            "Timber",
            "Pharma",
            "Tools",
            "Energy",
            "Glassworks",
            "Cement",
            "Radio",
        ],
        strict=True,
    )
]
EVENTS = [
    "the Harbour Cup", "the Lantern Festival", "the Spring Regatta", "the Coastal Derby",
    "the Winter Games", "the Summit Trophy", "the Valley Shield", "the River Classic",
    "the Autumn Open", "the Crystal Bowl", "the Island Relay", "the Century Match",
]  # fmt: skip
ROLES = ["director", "treasurer", "editor", "curator", "chairman", "secretary", "architect", "inspector"]
MONTHS = ["January", "March", "April", "June", "July", "August", "October", "November"]
YEARS = [str(year) for year in range(1961, 2011)]
NUMBERS = [str(number) for number in range(12, 52)]

VALUES: dict[str, list[str]] = {
    "place": PLACES,
    "team": TEAMS,
    "work": WORKS,
    "company": COMPANIES,
    "event": EVENTS,
    "role": ROLES,
    "month": MONTHS,
    "year": YEARS,
    "number": NUMBERS,
}
DETAIL_KINDS = ("year", "number", "place", "role", "month")


@dataclass(frozen=True)
class World:
    """The people of one world and the value of each kind that is typical for each entity."""

    people: list[str]
    typical: dict[tuple[str, str], str]

    def values(self, kind: str) -> list[str]:
        return self.people if kind == "person" else VALUES[kind]


def is_female(person: str) -> bool:
    return person.split()[0] in FEMALE


def make_world(seed: int, people: int = 60) -> World:
    """Draw `people` names, half of them female, and a typical value per entity and kind."""
    rng = random.Random(f"world {seed}")
    names = []
    for pool, count in ((FEMALE, people // 2), (MALE, people - people // 2)):
        full = [f"{first} {last}" for first in pool for last in SURNAMES]
        names += rng.sample(full, count)
    typical = {(entity, kind): rng.choice(VALUES[kind]) for entity in names + TEAMS for kind in DETAIL_KINDS}
    return World(sorted(names), typical)
