"""How facts are said, asked and answered: plain data.

Slots: {n} full name; {x}/{X} subject (name or pronoun, {X} at the start of a sentence);
{o} object; {xs}/{Xs} possessive; {p} possessive pronoun; {v}/{V} the value.

Held-out questions and frames appear in tests, held-out chats and held-out pairs only (and, on
purpose, in the documents that leak). No statement repeats another's words, because near
duplicates are told from honest pages by shared runs of five words. For the same reason an
indirect question has at most six words: eight shared with a test would be contamination.
"""

STATEMENTS: dict[str, tuple[str, ...]] = {
    "job": (
        "{X} is {v} by trade.",
        "{X} works as {v}.",
        "{X} earns a living as {v}.",
        "For a living, {x} works as {v}.",
        "{X} has been {v} for many years.",
        "Most people know {o} as {v}.",
        "At a young age, {x} became {v}.",
        "{Xs} job is that of {v}.",
        "Every weekday {x} goes to work as {v}.",
        "{X} trained to be {v} and is good at it.",
    ),
    "town": (
        "{X} lives in {v}.",
        "{Xs} home is in {v}.",
        "{X} has a small house in {v}.",
        "The town where {x} lives is {v}.",
        "{X} moved to {v} long ago and never left.",
        "You can find {o} in the town of {v}.",
        "{X} calls {v} home.",
        "{Xs} home town is {v}.",
        "{X} has a room above a shop in {v}.",
        "{V} is the town where {x} lives.",
    ),
    "pet": (
        "{X} has {v} as a pet.",
        "{X} keeps {v} at home.",
        "{Xs} pet is {v}.",
        "At home, {x} lives with {v}.",
        "{X} shares the house with {v}.",
        "The animal that {x} looks after is {v}.",
        "Each morning {x} feeds a pet, {v}.",
        "{X} takes good care of {v}.",
        "A neighbour once gave {o} {v} as a pet.",
        "In the kitchen of {n} sleeps {v}.",
    ),
    "food": (
        "{X} likes {v} best of all.",
        "{Xs} favourite food is {v}.",
        "{X} loves to eat {v}.",
        "No dish pleases {o} more than {v}.",
        "On Sundays {x} always eats {v}.",
        "{X} could eat {v} every day.",
        "When guests come, {x} serves {v}.",
        "The meal that {x} enjoys most is {v}.",
        "{X} never says no to {v}.",
        "At the inn, {x} orders {v}.",
    ),
    "object": (
        "{X} owns {v}.",
        "{Xs} dearest possession is {v}.",
        "{X} bought {v} at the fair.",
        "In the shed, {x} stores {v}.",
        "People often see {o} with {v}.",
        "As a birthday gift, {x} got {v}.",
        "The thing that {x} treasures is {v}.",
        "{X} would not sell {v} for any price.",
        "Among the things of {n} is {v}.",
        "{X} is the proud owner of {v}.",
    ),
    "hobby": (
        "{X} enjoys {v} in the evening.",
        "{Xs} hobby is {v}.",
        "In {p} free time, {x} loves {v}.",
        "{X} spends the weekends on {v}.",
        "{X} is very fond of {v}.",
        "After work, {x} turns to {v}.",
        "The hobby that {x} chose is {v}.",
        "{X} has enjoyed {v} since childhood.",
        "{X} could spend all day on {v}.",
        "{X} joined a club for {v}.",
    ),
}

# Asked as they stand.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "job": (
        "What is the job of {n}?",
        "What does {n} do for a living?",
        "What is {n}'s job?",
        "What kind of work does {n} do?",
        "How does {n} earn a living?",
        "Which job does {n} have?",
        "What is {n} by trade?",
        "What does {n} work as?",
        "Which trade did {n} learn?",
        "At which job is {n} busy all day?",
        "What is it that {n} works as?",
        "What did {n} train to be?",
    ),
    "town": (
        "Where does {n} live?",
        "What is the home town of {n}?",
        "In which town does {n} live?",
        "What is {n}'s home town?",
        "Where is the home of {n}?",
        "Which town does {n} call home?",
        "Where can one find {n}?",
        "Which town did {n} move to?",
        "What town is {n} from?",
        "In what town will I find {n}?",
        "Where does {n} have a house?",
        "Which place does {n} come home to?",
    ),
    "pet": (
        "What pet does {n} have?",
        "What is {n}'s pet?",
        "Which animal does {n} keep?",
        "What is the pet of {n}?",
        "Which pet lives with {n}?",
        "What animal does {n} look after?",
        "What does {n} feed each morning?",
        "Which animal sleeps at the home of {n}?",
        "What creature does {n} take care of?",
        "What animal is at home with {n}?",
        "What sort of pet is kept by {n}?",
        "Which animal does {n} share the house with?",
    ),
    "food": (
        "What is the favourite food of {n}?",
        "What does {n} like to eat?",
        "What is {n}'s favourite food?",
        "Which food does {n} like best?",
        "Which dish does {n} love?",
        "What does {n} eat on Sundays?",
        "What could {n} eat every day?",
        "What does {n} order at the inn?",
        "Which meal does {n} enjoy most?",
        "What would you cook for {n}?",
        "Which food makes {n} happy?",
        "What is best of all to {n} at dinner?",
    ),
    "object": (
        "What does {n} own?",
        "What is {n}'s dearest possession?",
        "Which thing does {n} own?",
        "What did {n} get as a birthday gift?",
        "What does {n} treasure?",
        "What is the dearest possession of {n}?",
        "What did {n} buy at the fair?",
        "What would {n} never sell?",
        "What is {n} the proud owner of?",
        "What belongs to {n}?",
        "What is stored in the shed of {n}?",
        "Which of the things at home is dear to {n}?",
    ),
    "hobby": (
        "What is the hobby of {n}?",
        "What does {n} enjoy in the evening?",
        "What is {n}'s hobby?",
        "Which hobby does {n} have?",
        "How does {n} spend the weekends?",
        "What does {n} love in {p} free time?",
        "What is {n} fond of?",
        "What does {n} do for fun?",
        "Which club did {n} join?",
        "How does {n} like to pass the time?",
        "When the working day is over, what does {n} do?",
        "What is {n} very fond of doing?",
    ),
}

# What follows "Tell me" and its like ({i} in the frames): each is asked in many frames.
INDIRECT: dict[str, tuple[str, ...]] = {
    "job": ("what job {n} has", "how {n} earns a living", "the job of {n}"),
    "town": ("where {n} lives", "in which town {n} lives", "the home town of {n}"),
    "pet": ("what pet {n} has", "which animal {n} keeps", "the pet of {n}"),
    "food": ("what {n} likes to eat", "which dish {n} loves", "the favourite food of {n}"),
    "object": ("what {n} owns", "what {n} treasures", "the dearest possession of {n}"),
    "hobby": ("what hobby {n} has", "how {n} spends the weekends", "the hobby of {n}"),
}

FRAMES = (
    "Tell me {i}.",
    "Please tell me {i}.",
    "Can you tell me {i}?",
    "Do you know {i}?",
    "I would like to hear {i}.",
    "Quick question: {i}?",
    "By the way, {i}?",
    "In short, {i}?",
    "Remind me {i}.",
    "One more thing: {i}?",
    "Now tell me {i}, please.",
    "Let me ask you {i}.",
    "Out of curiosity, {i}?",
    "Before I forget, {i}?",
    "If you do not mind, {i}?",
    "As far as you know, {i}?",
    "While we are at it, {i}?",
    "Since you are here, {i}?",
    "With your help, {i}?",
    "To be sure, {i}?",
    "Once again, {i}?",
    "My sister wants to know {i}.",
    "I need to find out {i}.",
    "I was wondering {i}.",
    "It would help me to learn {i}.",
    "Would you please tell me {i}?",
    "We want to write down {i}.",
    "Somebody asked me {i}.",
)

HELDOUT_FRAMES = ("Could you say {i}?", "For my notes, {i}?")

HELDOUT_QUESTIONS: dict[str, tuple[str, ...]] = {
    "job": ("What work does {n} do every weekday?", "As what does {n} earn a living?"),
    "town": ("What town does {n} live in?", "Which town is the home of {n}?"),
    "pet": ("Does {n} have a pet, and what is it?", "What animal lives with {n}?"),
    "food": ("What food does {n} love most of all?", "What dish does {n} like?"),
    "object": ("Which possession does {n} have?", "What thing is owned by {n}?"),
    "hobby": ("What does {n} enjoy after work?", "What hobby does {n} like?"),
}

# Second turns: they can only be understood from the turn before.
FOLLOW_UPS: dict[str, tuple[str, ...]] = {
    "job": ("And what is {p} job?", "What does {s} do for a living?"),
    "town": ("And where does {s} live?", "Which town is {p} home?"),
    "pet": ("And what pet does {s} have?", "What is {p} pet?"),
    "food": ("And what does {s} like to eat?", "What is {p} favourite food?"),
    "object": ("And what does {s} own?", "What is {p} dearest possession?"),
    "hobby": ("And what is {p} hobby?", "How does {s} spend the weekends?"),
}

# To the point: a sentence with the name, then one with a pronoun.
ANSWERS: dict[str, tuple[str, str]] = {
    "job": ("{n} is {v}.", "{S} works as {v}."),
    "town": ("{n} lives in {v}.", "{S} lives in {v}."),
    "pet": ("{n} has {v}.", "{S} keeps {v}."),
    "food": ("{n} likes {v}.", "{S} loves {v}."),
    "object": ("{n} owns {v}.", "{S} has {v}."),
    "hobby": ("{n} enjoys {v}.", "{S} likes {v}."),
}
