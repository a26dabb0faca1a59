"""People, facts and sums: disjoint groups, even values, reserved problems."""

from collections import Counter

from hfllm.world.config import WorldConfig
from hfllm.world.people import MAX_TEST_STRANGERS, build_world
from hfllm.world.sums import draw, is_reserved, result, worked_answer
from hfllm.world.values import FACT_VALUES, FACTS
from hfllm.world.wording import fill

CONFIG = WorldConfig()
WORLD = build_world(CONFIG, 0)


def test_groups_are_disjoint_and_share_their_names():
    groups = [{p.name for p in g} for g in (WORLD.known, WORLD.strangers, WORLD.test_strangers)]
    tested = min(CONFIG.strangers // 2, MAX_TEST_STRANGERS)
    assert [len(g) for g in groups] == [CONFIG.people, CONFIG.strangers - tested, tested]
    assert len(set.union(*groups)) == CONFIG.people + CONFIG.strangers
    firsts, lasts = {p.first for p in WORLD.known}, {p.last for p in WORLD.known}
    assert all(p.first in firsts and p.last in lasts for p in WORLD.test_strangers)


def test_values_are_spread_evenly():
    for fact in FACTS:
        counts = Counter(p.facts[fact] for p in WORLD.known)
        assert set(counts) == set(FACT_VALUES[fact])
        assert max(counts.values()) - min(counts.values()) <= 1


def test_pronouns_and_possessives_fill_the_slots():
    person = WORLD.known[0]
    named = fill("{Xs} pet is {v}; {X} told {o}.", person, "a goat")
    assert named == f"{person.name}'s pet is a goat; {person.name} told {person.name}."
    own, him = person.possessive, person.objective
    said = fill("{Xs} pet is {v}; {x} told {o}.", person, "a goat", named=False)
    assert said == f"{own.capitalize()} pet is a goat; {person.pronoun} told {him}."


def test_sums_never_draw_what_is_reserved_and_stay_in_range():
    rng = WORLD.rng("test")
    for i in range(2000):
        problem = draw(rng, WORLD.reserved, two_digits=bool(i % 2))
        assert not is_reserved(problem, WORLD.reserved)
        assert 0 <= result(problem) <= 99
    assert is_reserved(next(iter(WORLD.reserved)), WORLD.reserved)


def test_worked_steps_are_true():
    assert worked_answer(("plus", 38, 47)) == (
        "Tens: 30 plus 40 is 70. Ones: 8 plus 7 is 15. The answer is 85."
    )
    assert worked_answer(("minus", 87, 45)) == (
        "Tens: 80 minus 40 is 40. Ones: 7 minus 5 is 2. The answer is 42."
    )
