"""Test rows as the small world writes them."""


def answer_row(number, **changes):
    """A test row as the small world writes it."""
    row = {
        "id": f"known-{number}",
        "task": "known_facts",
        "prompt": [{"role": "user", "content": f"Who is number {number}?"}],
        "plain": f"Question: Who is number {number}?\nAnswer:",
        "answer": "a baker",
        "choices": ["a baker", "a weaver", "a fisher"],
        "check": "contains",
        "answerable": True,
        "person": None,
        "facts_seen_in_chats": number % 2 == 0,
    }
    return {**row, **changes}
