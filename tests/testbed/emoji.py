"""The world of ``flux_emoji``: named emoji on plain backgrounds.  A caption is ``"rocket on blue"``.

The ids are the places of words in the names of all 1853 emoji of the set that its first training saw; the checkpoint
knows the 59 names of ``NAMES``.  A caption's embedding is rows of a fixed random table, as in scenes.py.
"""

import torch

NAMES = (
    "red apple", "cat face", "rocket", "red heart", "pizza", "guitar", "penguin", "sunflower", "soccer ball",
    "crown", "star", "rainbow", "dog face", "fox", "panda", "frog", "pig face", "tiger face", "lion", "unicorn",
    "octopus", "fish", "butterfly", "cactus", "mushroom", "hamburger", "hot dog", "birthday cake", "strawberry",
    "banana", "watermelon", "carrot", "ice cream", "teddy bear", "balloon", "wrapped gift", "camera", "airplane",
    "sailboat", "bus", "automobile", "bicycle", "house", "castle", "volcano", "full moon", "snowman", "robot",
    "alien", "ghost", "jack-o-lantern", "light bulb", "key", "bell", "drum", "trophy",
    "globe showing Europe-Africa", "gem stone", "t-shirt",
)  # fmt: skip
BACKGROUNDS = {"white": 1706, "yellow": 1708, "blue": 1709, "red": 1710, "green": 1711, "purple": 1712}
WORDS = dict(
    africa=29, airplane=32, alien=37, apple=60, automobile=86, ball=109, balloon=111, banana=113, bear=135,
    bell=147, bicycle=155, birthday=164, bulb=222, bus=231, butterfly=237, cactus=241, cake=243, camera=249,
    carrot=270, castle=273, cat=274, cream=370, crown=381, dog=444, drum=469, europe=508, face=522, fish=557,
    fox=594, frog=602, full=609, gem=618, ghost=627, gift=630, globe=636, guitar=668, hamburger=674, heart=693,
    hot=722, house=725, ice=734, jack=757, key=775, lantern=807, light=838, lion=843, moon=959, mushroom=979,
    o=1028, octopus=1030, panda=1078, penguin=1105, pig=1123, pizza=1138, rainbow=1211, red=1222, robot=1244,
    rocket=1246, sailboat=1268, shirt=1322, showing=1330, snowman=1373, soccer=1375, star=1414, stone=1423,
    strawberry=1429, sunflower=1438, t=1463, teddy=1483, tiger=1507, trophy=1549, unicorn=1574, volcano=1609,
    watermelon=1625, wrapped=1665,
)  # fmt: skip
ROWS, WIDTH, LENGTH = 1714, 64, 20
CAPTIONS = (
    "hamburger on purple",
    "rocket on blue",
    "penguin on white",
    "watermelon on green",
    "sunflower on blue",
    "red apple on yellow",
    "cat face on red",
    "crown on purple",
    "guitar on green",
    "star on blue",
    "soccer ball on yellow",
    "red heart on white",
    "castle on blue",
    "panda on yellow",
    "trophy on purple",
    "pizza on green",
)


def words_of(name: str) -> list[str]:
    """The words of an emoji's name: ``jack-o-lantern`` has three."""
    for mark in ":,-":
        name = name.replace(mark, " ")
    return name.lower().split()


def caption_ids(name: str, background: str) -> torch.Tensor:
    """(20,) ids of the words of ``name`` on ``background``, padded with 0."""
    ids = [BACKGROUNDS[background], *(WORDS[word] for word in words_of(name))]
    return torch.tensor(ids + [0] * (LENGTH - len(ids)))


def parse(text: str) -> torch.Tensor:
    """(20,) ids of ``"name on background"``; an error names what does not fit and what does."""
    name, _, background = text.strip().rpartition(" on ")
    if background not in BACKGROUNDS:
        raise ValueError(f"A caption ends with 'on' and one of {', '.join(BACKGROUNDS)}; found {text!r}.")
    if name not in NAMES:
        raise ValueError(f"{name!r} is not an emoji that the checkpoint knows; known are {', '.join(NAMES)}.")
    return caption_ids(name, background)


def embedding_table() -> torch.Tensor:
    """(1714, 64) fixed text embedding; row 0 is the padding's, zero."""
    table = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(4321))
    table[0] = 0
    return table
