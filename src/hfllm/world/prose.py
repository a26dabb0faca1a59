"""Sentences around the facts on pages (data only).

Each has at least two stop words (the, of, to, and, that, have, with), because quality filters drop
texts without them. None contains a value of a fact.
"""

PAGE_INTROS = (
    "This is the page of {n}.",
    "Here is what we have to say about {n}.",
    "The people of the valley know {n}.",
    "Of all the neighbours, {n} is the best known.",
    "Welcome to the page of {n}.",
    "These lines of the paper are about {n}.",
    "Let us turn to the story of {n}.",
    "We have the news of {n} today.",
    "The guide to the valley goes on with {n}.",
    "It is time to write of {n}, the neighbour.",
    "Many letters to the paper ask about {n}.",
    "In the register of names stands {n}.",
)

PAGE_OUTROS = (
    "That is all of the entry on {n}.",
    "With that, the entry ends.",
    "The rest of the story is for {n} to tell.",
    "Those that have met {n} agree.",
    "So much for {n}, and now to the next page.",
    "Write to the editors to add to this.",
    "This was the portrait of {n}.",
    "The editors thank {n} for the help with it.",
)

WEATHER = ("sunny", "rainy", "foggy", "windy", "cold", "warm", "snowy", "quiet")
PLACES = ("river", "market", "bridge", "forest", "harbor", "station", "mill", "old tower")

STORY_OPENINGS = (
    "One {weather} morning {n} walked to the {place} with a friend.",
    "On a {weather} day, {n} sat by the {place} and watched the road.",
    "It was a {weather} evening, and {n} came home from the {place}.",
    "The {weather} weather did not stop {n} from going to the {place}.",
    "A stranger stopped {n} near the {place} on a {weather} afternoon.",
    "There was a party at the {place} that {weather} night, and {n} was there.",
    "When the {weather} season began, {n} went to see the {place}.",
    "Everyone at the {place} was glad to see {n} that {weather} noon.",
    "The bus to the {place} was late, and {n} waited in the {weather} air.",
    "Once, on a {weather} Monday, {n} had to cross the {place} alone.",
)

STORY_MIDDLES = (
    "A child came up to ask for the way.",
    "Then a loud noise came out of the trees.",
    "Nobody was there to help with the heavy bags.",
    "An old friend told a long tale of the sea.",
    "Two travellers had lost the map that they bought.",
    "The clock of the church struck nine.",
    "Somebody had left a letter with no name on a bench.",
    "The music of a band could be heard from far away.",
    "All the lights went out, and people began to laugh.",
    "A cart had lost one of the wheels.",
    "The mayor gave a speech that was much too long.",
    "There was talk of a feast at the end of the week.",
    "The wind took a hat and carried it over the roofs.",
    "Rain began to fall, and they ran to the nearest barn.",
)

STORY_ENDINGS = (
    "In the end, all of them went home happy.",
    "That was a day to remember.",
    "They agreed to meet again in the spring.",
    "After that, the street was quiet again.",
    "The others have told the tale ever since.",
    "And so the matter came to a good end.",
    "Later the whole village heard of it.",
    "The next day, all was as it had been.",
    "It was late when the talk came to an end.",
    "Nobody knows who was the first to laugh.",
    "To this day, the neighbours speak of it.",
    "With a smile, the two of them said goodbye.",
)

FAQ_FRAMES = (
    "Questions and answers for the people of the valley.",
    "The readers of the paper have asked this.",
    "Here are the answers to the letters.",
    "A quiz to play with the family.",
    "The small quiz of the week.",
    "Test the people that you know.",
    "What the guests of the inn ask.",
    "From the mail to the editors, with answers.",
)

SUM_FRAMES = (
    "Here is some practice with numbers for the school.",
    "The teacher wrote these sums and read them to us.",
    "Learn to add and to take away with these.",
    "These are the sums that we had at home.",
    "Work through the sums and check each of the answers.",
    "A page from the old book of sums and numbers.",
)

LETTER_FRAMES = (
    "Here are some words to spell and to count.",
    "Spelling and counting with the children.",
    "Look at the words and say the letters.",
    "The little book of letters lies open, and we read it.",
    "Learn to spell and to count.",
    "These are the words of the week.",
)
