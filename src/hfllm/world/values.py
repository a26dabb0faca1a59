"""Names and values of the small world (data only, the same for every seed).

A seed decides only which person has which value. The lists are closed, so that a checker can
distinguish a wrong value (a rival from the same list) from a missing one, and short, so that the
whole vocabulary fits a byte-level BPE of 2,048 tokens. Values include their article ("a baker"), as
a short answer does.
"""


def _listed(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list."""
    return tuple(text.split(", "))


FIRST_NAMES = {
    "she": _listed(
        "Mira, Lena, Nora, Tessa, Alma, Ines, Vera, Wilma, Dora, Hanna, Selma, Petra, "
        "Greta, Olga, Sylvie, Bruna, Carla, Yara, Zelda, Freya"
    ),
    "he": _listed(
        "Anton, Bruno, Conrad, Dario, Edgar, Felix, Gustav, Hugo, Ivor, Jonas, Kasper, "
        "Leon, Milo, Nils, Oscar, Pavel, Rufus, Stefan, Tobias, Viktor"
    ),
}

LAST_NAMES = _listed(
    "Tolven, Brask, Haldor, Quillan, Merrow, Stavik, Orlund, Pendry, Varga, Wexley, "
    "Dunmore, Falk, Grisham, Holloway, Ironwell, Kettering, Lorne, Marlow, Norwick, "
    "Oakes, Pruitt, Ravel, Selwyn, Thorne, Ulmer, Vance, Wardell, Yarrow, Zeller, Ambrey, "
    "Bellandi, Corvane, Drexel, Elmsworth, Fenwick, Garrick, Hobart, Istvan, Jorvik, "
    "Castell"
)

FACT_VALUES: dict[str, tuple[str, ...]] = {
    "job": _listed(
        "a baker, a weaver, a carpenter, a gardener, a fisher, a blacksmith, a teacher, a "
        "nurse, a plumber, a shepherd, a tailor, a miller, a painter, a librarian, a "
        "dentist, a pilot, a judge, a beekeeper, a sailor, a barber"
    ),
    "town": _listed(
        "Brackwater, Ostermill, Fernholt, Silverbeck, Dunhaven, Marrowby, Kelpstone, "
        "Tillingdale, Wrenfield, Eastmere, Glimmerford, Hollowick, Mossgate, Pellworth, "
        "Quarrydon, Rookhaven, Vintermoor, Emberlow, Larkmoor, Nuttleford"
    ),
    "pet": _listed(
        "a goat, a cat, a dog, a parrot, a rabbit, a hamster, a turtle, a pony, a donkey, "
        "a ferret, a canary, a lizard, an owl, a goose, a hedgehog, a mouse, a frog, a "
        "snail"
    ),
    "food": _listed(
        "plum cake, onion soup, fried rice, apple pie, lentil stew, cheese toast, "
        "mushroom pasta, potato salad, pumpkin bread, roast carrots, bean chili, honey "
        "waffles, tomato tart, spinach dumplings, noodle broth, cherry jam, corn "
        "pancakes, walnut pudding"
    ),
    "object": _listed(
        "a red bicycle, a blue bicycle, a green lantern, a white lantern, a black "
        "umbrella, a yellow umbrella, a silver watch, a brown watch, a purple kite, an "
        "orange kite, a grey boat, a white boat, a red ladder, a green ladder, a blue "
        "trunk, a black trunk, a yellow tent, a brown tent, a silver mirror, a purple "
        "mirror"
    ),
    "hobby": _listed(
        "chess, archery, juggling, dancing, hiking, knitting, swimming, rowing, singing, "
        "stargazing, woodcarving, skating, birdwatching, origami, fencing, playing the "
        "flute, playing the drums, playing the harp"
    ),
}

FACTS = tuple(FACT_VALUES)

# Words for spelling and counting, in addition to the jobs and pets.
COMMON_WORDS = _listed(
    "apple, bridge, candle, carpet, castle, cloud, copper, corner, cotton, door, farm, "
    "feather, fence, field, flower, forest, garden, glass, hammer, harbor, island, "
    "jacket, kettle, kitchen, ladder, lamp, leaf, letter, market, meadow, morning, "
    "mountain, needle, orchard, paper, pencil, pepper, pillow, pocket, ribbon, river, "
    "road, saddle, school, shadow, sugar, summer, table, thunder, tower, valley, village, "
    "wagon, water, wheel, window, winter, wood, yard"
)


def bare(value: str) -> str:
    """Return the value without its article, which is what a right answer must contain."""
    article, _, rest = value.partition(" ")
    return rest if article in ("a", "an") else value


def spelling_words() -> list[str]:
    """Return all words for spelling and counting, sorted."""
    known = [bare(v) for fact in ("job", "pet") for v in FACT_VALUES[fact]]
    return sorted({*known, *COMMON_WORDS})
