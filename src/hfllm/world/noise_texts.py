"""Texts that noise.py uses: boilerplate, spam, sentences in other languages (data only)."""

NAV = ("Home", "News", "Sports", "Weather", "Shop", "Login", "Archive", "Contact", "Videos", "Jobs")

COOKIES = (
    "We use cookies to improve your visit. <button>Accept all</button>",
    "This site uses cookies. <a href='/privacy'>Learn more</a> <button>OK</button>",
    "Your privacy matters to us. <button>Reject</button> <button>Accept</button>",
)

FOOTERS = (
    "Copyright 2024 Valley Media. All rights reserved. <a href='/imprint'>Imprint</a>",
    "Terms of service | Privacy | Follow us | Subscribe to our newsletter",
    "Powered by PageMaker 4. <a href='/login'>Log in</a>",
)

SCRIPTS = (
    "window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments)}",
    "(function(){var a=document.createElement('script');a.async=1;})();",
    "var _ads={slot:3,refresh:true};if(_ads.refresh){setTimeout(load,3000)}",
)

STYLES = (
    "body{font-family:sans-serif;margin:0}.menu{display:flex}",
    ".cookie-banner{position:fixed;bottom:0}a{color:#336}",
)

MAIL_HOSTS = ("example.com", "example.org", "mail.example.net")

PREFIXES = ("Updated:", "News:", "Again:", "Reposted page:", "Read this:")
SUFFIXES = ("Read more here.", "Share this page.", "Last change in May.", "Seen today.")
FIRST_WORDS = ("Well", "Look", "Listen", "So")
LAST_WORDS = ("indeed", "today", "again", "too")

SPAM = (
    "Click here to win a free prize now!",
    "Buy cheap pills online, best price!",
    "Hot deals today only, click click click!",
    "You are the lucky visitor, claim your bonus!",
)

FOREIGN = {
    "de": (
        "Am Morgen gehen die Kinder mit ihren Freunden in die Schule.",
        "Der alte Mann sitzt auf der Bank und liest seine Zeitung.",
        "Wir haben gestern auf dem Markt frisches Gemüse gekauft.",
        "Das Wetter ist heute leider sehr schlecht und kalt.",
        "Meine Schwester wohnt seit drei Jahren in einer kleinen Stadt.",
        "Im Sommer fahren viele Leute an das Meer.",
        "Sie hat mir eine lange Geschichte über ihre Reise erzählt.",
        "Nach der Arbeit trinken wir gern zusammen einen Kaffee.",
        "Die Brücke über den Fluss wird nächste Woche repariert.",
        "Er konnte den Schlüssel zu seinem Haus nicht finden.",
        "Auf dem Tisch stehen ein Glas Wasser und ein Teller.",
        "Niemand wusste, warum der Zug so viel Verspätung hatte.",
    ),
    "es": (
        "Por la mañana los niños van a la escuela con sus amigos.",
        "El viejo está sentado en el banco y lee el periódico.",
        "Ayer compramos verduras frescas en el mercado del pueblo.",
        "Hoy hace muy mal tiempo y tenemos mucho frío.",
        "Mi hermana vive desde hace tres años en una ciudad pequeña.",
        "En verano mucha gente viaja a la playa.",
        "Ella me contó una larga historia sobre su viaje.",
        "Después del trabajo nos gusta tomar un café juntos.",
        "La próxima semana van a reparar el puente sobre el río.",
        "Él no pudo encontrar la llave de su casa.",
        "Sobre la mesa hay un vaso de agua y un plato.",
        "Nadie sabía por qué el tren llegaba tan tarde.",
    ),
    "fr": (
        "Le matin, les enfants vont à l'école avec leurs amis.",
        "Le vieil homme est assis sur le banc et lit son journal.",
        "Hier, nous avons acheté des légumes frais au marché.",
        "Aujourd'hui, il fait très mauvais et nous avons froid.",
        "Ma sœur habite depuis trois ans dans une petite ville.",
        "En été, beaucoup de gens partent au bord de la mer.",
        "Elle m'a raconté une longue histoire sur son voyage.",
        "Après le travail, nous aimons boire un café ensemble.",
        "La semaine prochaine, on va réparer le pont sur la rivière.",
        "Il n'a pas pu trouver la clé de sa maison.",
        "Sur la table, il y a un verre d'eau et une assiette.",
        "Personne ne savait pourquoi le train avait du retard.",
    ),
}
