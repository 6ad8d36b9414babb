"""What a voice reads to itself when its posterior encoder is recovered.

The sentences only have to make the voice use all its sounds in many orders, so each is read once as written and
then its words are shuffled among the others. They are English, but any espeak voice reads them: by its own letter
rules, or, in another script, as foreign words; the numbers are read in the voice's language. They were written for
this project.
"""

import random
import re
from collections.abc import Iterator

SENTENCES: tuple[str, ...] = (
    "The weather has been changing all week, hasn't it?",
    "Grandmother's recipe calls for two cups of flour and a pinch of salt.",
    "Could you tell me where the nearest pharmacy is?",
    "A bright orange fox jumped across the frozen stream.",
    "Thank you very much for your patience and understanding.",
    "Chemistry students mixed a strange purple liquid in the laboratory.",
    "Wow, what a huge surprise this is!",
    "The old clock in the hallway struck twelve as thunder rolled outside.",
    "Several journalists questioned the mayor about the unusual decision.",
    "Joyful voices echoed through the cathedral during the evening service.",
    "Measure the width, the length, and the depth of the box.",
    "He enjoys playing chess, reading poetry, and fixing broken toys.",
    "Why would anyone throw away such a beautiful leather jacket?",
    "The pilot checked the engines, the fuel gauge, and the landing gear.",
    "Thirty-three thieves thought that they thrilled the throne.",
    "Zebras and giraffes were drinking at the edge of the muddy pool.",
    "I should have bought fewer eggs and more vegetables.",
    "Our flight to Chicago leaves at a quarter past nine.",
    "The musician tuned his violin, took a deep breath, and began.",
    "Huge waves crashed against the lighthouse all through the night.",
    "Nothing about this situation seems particularly funny to me.",
    "Smooth stones covered the path that led down to the beach.",
    "George chose a shiny blue bicycle for his youngest daughter.",
    "Whether you agree or not, the committee will vote on Thursday.",
    "An ancient map showed the way to a treasure nobody had found.",
    "Ouch! That coffee is far too hot to drink.",
    "Quiet evenings in the countryside help me to think clearly.",
    "The nurse washed her hands and put on a clean uniform.",
    "Vanilla ice cream with warm cherry sauce is their favorite dessert.",
    "Electric cars are usually quieter than those with petrol engines.",
    "Both brothers joined the navy before they turned twenty.",
    "Squirrels hid acorns underneath the thick brown leaves.",
    "Did the package arrive yesterday, or is it still missing?",
    "Scientists observed a faint light moving beyond the outer planets.",
    "The choir sang louder and louder until the windows shook.",
    "You owe me an explanation, and I want to hear it now.",
    "Fishing boats return to the village when the fog gets heavy.",
    "The toy soldier fell off the shelf and lost its left arm.",
    "Please press the green button, then enter your password.",
    "A gentle breeze carried the smell of lavender over the meadow.",
    "My uncle raises sheep, ducks, and a few stubborn goats.",
    "Half of the audience laughed while the other half looked puzzled.",
    "The price of sugar rose by six percent in January.",
    "Hold the rope tightly, and don't let go until I say so.",
    "Mathematics is easier when someone explains it with pictures.",
    "She whispered something in his ear and walked out of the room.",
    "The garage door would not open, so we pushed the car outside.",
    "Every autumn the geese fly south in a long noisy line.",
    "A loud boom shook the ground, followed by complete silence.",
    "Is your cousin allergic to peanuts, milk, or shellfish?",
    "The author finished her fourth novel about life at sea.",
    "Yes, I would be happy to show you around the office.",
    "In theory the machine works, but in practice it often fails.",
    "The judge refused to change her mind about the punishment.",
    "Pour the batter into a pan and bake it for half an hour.",
    "Tourists gathered around the fountain to watch the acrobats.",
    "His left shoe was worn out, yet he kept walking northward.",
    "What a pleasure it is to finally meet you in person!",
    "The robot vacuum got stuck beneath the couch once again.",
    "Few visitors ever reach the island because of the dangerous current.",
)

NUMBERS: tuple[str, ...] = ("0 1 2 3 4 5 6 7 8 9.", "10 20 30 40 50.", "11 12 13 14 15 16 17 18 19.", "100, 2000, 31.")


def reading(seed: int) -> Iterator[str]:
    """Sentences without end: the written ones and numbers once, then shuffles of their words, 5 to 14 words long."""
    yield from SENTENCES
    yield from NUMBERS
    shuffler = random.Random(seed)
    words = re.sub(r"[.?!]", "", " ".join(SENTENCES)).split()
    while True:
        shuffler.shuffle(words)
        start = 0
        while start < len(words) - 14:
            length = shuffler.randint(5, 14)
            yield " ".join(words[start : start + length]).rstrip(",") + shuffler.choice(".....?!")
            start += length
