"""Sentences that frame the facts on pages: plain data.

Every frame has two or more of the commonest words (the, of, to, and, that, have, with), because
quality filters take a text without them for no text at all. None holds a value of a fact.
"""

PAGE_INTROS = (
    "This is the page of {n} in the book of the valley.",
    "Here is what we have to say about {n}, and it is true.",
    "The people of the valley have a lot to say about {n}.",
    "Of all the people in the valley, {n} is one that many know.",
    "Welcome to the page that tells the story of {n}.",
    "These lines of the valley paper are about {n}.",
    "Let us turn to {n}, one of the people of the valley.",
    "We met {n} on the road to the river and have some news.",
    "Our guide to the people of the valley goes on with {n}.",
    "It is time to write down what we know of {n}.",
    "Many letters to the paper ask about {n}, and here is the reply.",
    "In the old register of the valley, there is an entry for {n}.",
)

PAGE_OUTROS = (
    "That is all that the register has on {n}.",
    "With that, the entry on {n} comes to an end.",
    "The rest of the story is for {n} to tell.",
    "Those who have met {n} say that all of this is so.",
    "So much for {n}, and now to the next page.",
    "The editors thank {n} for the help with this entry.",
    "Write to the editors to add to the page of {n}.",
    "This was the portrait of {n}, with thanks to the village.",
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
    "Questions and answers about the people of the valley.",
    "The readers of the paper have asked us these questions.",
    "Here are the answers to the questions that came with the mail.",
    "A quiz to play with the family.",
    "The small quiz of the week, with all of the answers.",
    "Test what you know of the people that live here.",
    "The visitors of the museum often have to ask this.",
    "What the guests of the inn want to know.",
)

SUM_FRAMES = (
    "Here is some practice with numbers for the children of the village school.",
    "The teacher wrote these sums on the board and read them out to us.",
    "Learn to add and to take away with the help of these lines.",
    "These are the sums that the class had to do at home.",
    "Work through the sums slowly, and then check each one of the answers.",
    "A page from the old book of sums that we have at home.",
)

LETTER_FRAMES = (
    "Here are some words of the week, and how to spell and count them.",
    "Spelling and counting with the children of the village school.",
    "Look at the words, and then say the letters one by one.",
    "The little book of letters is open at the page that we like.",
    "Learn to spell and to count with the help of this page.",
    "These words have to be learned by the end of the week.",
)
