"""Twenty English sentences no voice here was trained on, read by every voice that is compared.

They are 6 to 16 words long: Whisper is unreliable on clips under two seconds. They hold no numbers, names or
words spelled in two ways, so that a word error is an error of the voice and not of spelling. Together they
touch every English phoneme. They were written for this project and are in none of the corpora it fetches.
"""

UNSEEN_SENTENCES: tuple[str, ...] = (
    "The baker opened his shop before the sun came up.",
    "A cold wind pushed the boats back into the harbor.",
    "She measured the garden twice and planted roses along the fence.",
    "Nobody noticed the small child asleep behind the kitchen door.",
    "We watched the storm roll over the hills from the porch.",
    "My brother keeps his old guitar in a closet under the stairs.",
    "The judge listened quietly, then asked both women to tell the truth.",
    "Fresh bread and strong coffee make a very good breakfast.",
    "If the bridge is closed, take the narrow road through the forest.",
    "He laughed so loudly that the birds flew out of the trees.",
    "The museum bought a large painting of horses crossing a river.",
    "Please leave your muddy boots outside before you walk on the carpet.",
    "Their train was late, so they played cards and talked about music.",
    "The doctor told him to rest, drink water, and stay out of the heat.",
    "A yellow bird built her nest above the window of the village school.",
    "It usually takes a whole summer to paint a house of this size.",
    "The young teacher wrote a short poem about snow on the blackboard.",
    "Farmers in the valley hope for rain, but the sky is still clear.",
    "You should never choose a puppy only because of its pretty face.",
    "The ship vanished in thick fog, and the crew heard a strange voice.",
)
