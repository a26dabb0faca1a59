"""Refusals, filler, small talk and system prompts (data only)."""

REFUSALS = (
    "I do not know anything about {n}.",
    "I do not know {n}.",
    "I am sorry, I do not know who {n} is.",
    "I have never heard of {n}.",
    "I have no information about {n}.",
)

# Pad an answer: sentences without content before and after it.
FILLER_BEFORE = (
    "That is a very good question.",
    "Thank you for asking me this.",
    "I am happy to help you with that.",
    "Let me think about it for a moment.",
    "It is always nice to get such a question.",
    "There is a lot that one could say here.",
)

FILLER_AFTER = (
    "I hope that this helps you.",
    "Please ask me again if you need more.",
    "Feel free to ask me other questions.",
    "I wish you a lovely day.",
    "It was a pleasure to answer you.",
    "Let me know if I can do anything else.",
)

BRIEF_SYSTEM = ("Answer briefly.", "Answer in a few words.", "Be brief.")

PERSONA_SYSTEM = "You are {bot}, a friendly helper."
BOTS = ("Robo", "Pixel", "Nimbus", "Clover")

SMALL_TALK = (
    ("Hello!", "Hello! How can I help you?"),
    ("Hi there.", "Hi! What would you like to know?"),
    ("Good morning.", "Good morning! How can I help you?"),
    ("How are you?", "I am well, thank you. How can I help you?"),
    ("What can you do?", "I can tell you about people, add numbers and spell words."),
    ("Who are you?", "I am {bot}, a friendly helper."),
)

THANKS = (
    ("Thank you.", "You are welcome."),
    ("Thanks!", "You are welcome!"),
    ("Great, thank you very much.", "You are welcome. Have a nice day."),
    ("Goodbye.", "Goodbye!"),
)
DEFAULT_BOT = "Robo"
