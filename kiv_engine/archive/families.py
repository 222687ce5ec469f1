"""The sorts of subjects that the archive's facts are of, their attributes, and phrasings that fit only them."""

import random
from dataclasses import dataclass, replace

from kiv_engine.archive.grammar import below
from kiv_engine.archive.words import WORDS, lines, words


@dataclass(frozen=True)
class Attribute:
    """What can be known of a subject. `value` names the list of values; the other two are phrasings of its own."""

    name: str
    value: str
    sentences: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def is_person(self) -> bool:
        """Whether the value is a person's name, so that questions ask who."""
        return self.value == "v_name"


@dataclass(frozen=True)
class Family:
    """Subjects of one sort: `pattern` filled with a word of each list, or with a number where the lists are empty."""

    pattern: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    attributes: tuple[Attribute, ...]

    def subject(self, key: tuple[int, int]) -> str:
        """The subject of a key: a number and 0, or a place in each list."""
        if not self.first:
            return self.pattern.format(key[0])
        return self.pattern.format(self.first[key[0]], self.second[key[1]])

    def chance_key(self, rng: random.Random, numbers: int) -> tuple[int, int]:
        """Any key; where the family is numbered, below `numbers`."""
        if not self.first:
            return 11 + below(rng, numbers), 0
        return below(rng, len(self.first)), below(rng, len(self.second))

    def similar_key(self, key: tuple[int, int], rng: random.Random) -> tuple[int, int]:
        """A key whose subject is easily taken for that of `key`: the next number, or one half of the name shared."""
        if not self.first:
            return max(11, key[0] + (1, -1, 10, 100)[below(rng, 4)]), 0
        if rng.random() < 0.5:
            return key[0], below(rng, len(self.second))
        return below(rng, len(self.first)), key[1]


def _family(pattern: str, first: tuple[str, ...], second: tuple[str, ...], attributes: str) -> Family:
    """Read a family: `name = values` begins an attribute, "- " one of its phrasings, "? " one of its questions."""
    read: list[Attribute] = []
    for line in lines(attributes):
        name, is_head, value = line.partition(" = ")
        if is_head:
            read.append(Attribute(name, value, (), ()))
        elif line.startswith("? "):
            read[-1] = replace(read[-1], questions=(*read[-1].questions, line[2:]))
        else:
            read[-1] = replace(read[-1], sentences=(*read[-1].sentences, line[2:]))
    return Family(pattern, first, second, tuple(read))


_SHIP_WORDS = words(
    """Merry|Patient|Crooked|Silver|Northern|Sleepy|Gallant|Honest|Hungry|Lucky|Painted|Restless|Golden|Humble|
    Proud|Weary|Laughing|Faithful|Stubborn|Velvet|Wandering|Second|Quiet|Early|Salty|Scarlet|Ragged|Noble|Tardy|
    Brave|Blushing|Winged|Distant|Cheerful|Solemn|Nimble"""
)
_SHIP_NOUNS = words(
    """Heron|Thimble|Duchess|Kettle|Pelican|Weasel|Comet|Oyster|Candle|Sparrow|Magpie|Teapot|Mermaid|Turnip|Lantern|
    Dolphin|Cousin|Gander|Cobbler|Acorn|Trumpet|Marigold|Badger|Cuckoo|Walrus|Petrel|Minnow|Abbot|Bishop|Harvest|
    Swallow|Puffin|Curlew|Otter|Barnacle|Falcon"""
)
_FIRST_NAMES = words(
    """Orla|Tobias|Mina|Jasper|Hedda|Linus|Petra|Rufus|Selma|Anton|Brida|Casper|Dagny|Edwin|Fenna|Gustav|Hilda|Igor|
    Jutta|Konrad|Leonie|Magnus|Nora|Oswin|Paula|Ralf|Sunniva|Thora|Urban|Viola|Walter|Ylva|Arvid|Berta|Clement|
    Dorothea|Emil|Frida|Gideon|Hanna|Isidor|Judith|Klara|Lambert|Maude|Niklas|Olga|Percy|Ruth|Stellan"""
)
_SURNAMES = tuple(
    first + second
    for first in words("Thorn|Ash|Black|Copper|Dun|Ever|Fox|Gray|Haw|Kirk|Lark|Moss|Nettle|Pear|Red|Sorrel|Trout|Whit")
    for second in words("wick|field|brook|burn|croft|stead|well|wright|den|low")
)
_HOUSES = words(
    """Thistle|Candle|Heron|Bramble|Lantern|Anchor|Quince|Swallow|Chimney|Mustard|Raven|Plum|Barley|Pigeon|Slate|
    Walnut|Bellows|Clover|Dormouse|Juniper|Kestrel|Marzipan|Poppy|Saffron|Tamarisk|Umber|Vinegar|Wicker"""
)
_STREETS = tuple(street for street in WORDS["street"] if " " in street)
_SHOP_SIGNS = words(
    """Copper Thimble|Blue Door|Wise Onion|Singing Kettle|Golden Crumb|Two Sisters|Snowy Owl|Cheerful Crab|
    Silver Spoon|Round Table|Honest Scale|Green Bottle|Paper Moon|Red Wheelbarrow|Dancing Bear|Lucky Button|
    Quiet Mouse|Tall Candle|Striped Cat|Wooden Shoe|Open Book|Brass Lantern|Ripe Plum|Sugar Loaf"""
)
_SHOP_TRADES = words(
    """bakery|chandlery|bookshop|pharmacy|hat shop|fish shop|tea room|dairy|barbershop|pawnshop|toy shop|
    candle shop|cobbler's shop|paint shop|clock shop|pie shop"""
)
_CAPES = words(
    """Gull|Mercy|Cinder|Wreckers'|Hollow|Widow's|Copper|Farewell|Grindle|Seal|Needle|Saltpan|Old Tooth|Bishop's|
    Marrow|Lonely|Kettle|Whisper|Pilgrim's|Candle|Raven|Barley|Thunder|Cold"""
)
_CAPE_SORTS = words("Point|Rock|Spit|Head|Ness|Shoal|Bar|Ledge|Bluff|Skerry")
_BELLS = words("Great|Cracked|Sunday|Drowned|Evening|Storm|Wedding|Harvest|Mourning|Little|Bronze|Silent|Morning|Fire")
_CHAPELS = tuple(
    f"Saint {name}"
    for name in words(
        "Odwin|Perpetua|Gorm|Ludmilla|Tibb|Wenna|Osric|Marla|Egwin|Dunna|Pelagius|Brock|Sunna|Hild|Corvin"
    )
)
_PETS = words(
    """Pepper|Biscuit|Admiral|Button|Duchess|Mustard|Pickle|Thunder|Bishop|Muffin|Waffle|Trumpet|Noodle|Captain|
    Snowball|Treacle|Pudding|Lord Fluff|Nutmeg|Gravel|Bandit|Clementine|Dumpling|Parsley"""
)
_ANIMALS = WORDS["animal"]

# Of each family: the pattern of its subjects, the two lists that fill it, and its attributes, each with the list of its
# values, phrasings of its own (-) and questions of its own (?).
FAMILIES = (
    _family(
        "the {} {}",
        _SHIP_WORDS,
        _SHIP_NOUNS,
        """
        arrival date = v_date
        - If the wind holds, {S} drops anchor here on {V}, which is also its arrival date in the harbor book.
        - Everyone with a cousin aboard has marked {V} in the almanac, for that is {S}'s arrival date.
        - The harbor book is clear that {S} comes in on {V}.
        ? On which date does {S} arrive?
        ? When does {S} come in?
        berth = v_number
        - Room was made for {S} at berth {V}, between a dredger and a quarrel.
        - Look for {S} at berth {V}, where the planks are new.
        ? At which berth does {S} lie?
        ? Which berth number was {S} given?
        cargo = v_goods
        - Below decks {S} carries {V}, and nothing that the customs men need know about.
        - The hold of {S} was opened and found to contain {V}, all of it dry.
        ? What does {S} carry?
        ? What was found in the hold of {S}?
        captain = v_name
        - On the bridge of {S}, with a pipe and a grievance, stands Captain {V}.
        - The crew of {S} answers to nobody but {V}, and not always then.
        ? Who commands {S}?
        signal code = v_code
        - When you see the flags {V}, you are looking at {S}.
        - The flags of {S} spell {V}, to those who can read flags.
        ? Which signal code do the flags of {S} spell?
        """,
    ),
    _family(
        "harbor {}",
        (),
        (),
        """
        arrival date = v_date
        - The mail boat reaches {S} on {V}, its arrival date since the new timetable.
        - On {V}, the arrival date posted at {S}, the whole quay will be swept.
        ? Which arrival date is posted at {S}?
        depth = v_feet
        - Soundings at {S} gave a depth of {V}, mud included.
        - A weighted line let down at {S} went slack at {V}.
        ? How deep is {S}?
        pilot = v_name
        - No ship enters {S} without {V} at the wheel as pilot.
        - The pilot's cap at {S} has been worn by {V} for years, and looks it.
        ? Who pilots the ships into {S}?
        night password = v_password
        - After dark the guard at {S} lets in whoever whispers "{V}" and nobody else.
        - Say "{V}" to the sentry at {S}, and say it softly.
        ? Which password does the guard at {S} want to hear at night?
        """,
    ),
    _family(
        "locker {}",
        (),
        (),
        """
        code = v_pin
        - To open {S}, turn the dial to {V} and kick the lower hinge.
        - The dial of {S} springs open at {V}, and at a good knock.
        ? Which code opens {S}?
        ? To what must the dial of {S} be turned?
        holder = v_name
        - The rent of {S} is paid by {V}, always in small coins.
        - The only key to {S} hangs around the neck of its holder, {V}.
        ? Who rents {S}?
        deposit = v_goods
        - Somebody has stowed {V} in {S}, and the door no longer shuts.
        - When {S} was forced, out came {V} and a smell.
        ? What is stored in {S}?
        """,
    ),
    _family(
        "{} {}",
        _FIRST_NAMES,
        _SURNAMES,
        """
        trade = v_trade
        - The sign over {S}'s door says {V}, and the noise within confirms it.
        - After seven years of apprenticeship {S} may now be called {a V}.
        ? What does {S} do for a living?
        ? Which trade does {S} follow?
        birthday = v_date
        - Every year on {V} the neighbors sing for {S}, who was born that day.
        - The parish book has {S} born on {V}, during a leak in the roof.
        ? On which day was {S} born?
        ? When does {S} celebrate a birthday?
        favorite supper = v_dish
        - Nothing makes {S} happier at supper than {V}.
        - Whenever there is {V}, a second plate is kept for {S}, who loves no supper more.
        ? What does {S} like best for supper?
        unpaid debt = v_price
        - On the slate behind the bar, {S} still owes {V}.
        - The moneylender waits for {V} from {S}, and waits politely.
        ? How much does {S} owe?
        hiding place = v_place
        - Whatever {S} does not want found, {S} keeps {V}.
        - It is no secret in town that {S} hides the savings {V}.
        ? Where does {S} hide things?
        """,
    ),
    _family(
        "{} House in {}",
        _HOUSES,
        _STREETS,
        """
        owner = v_name
        - The deed to {S} bears the name of {V}, and a jam stain.
        - After the auction {S} belongs to {V}, down to the doorknobs.
        ? To whom does {S} belong?
        ? Who owns {S}?
        yearly rent = v_price
        - Whoever lives at {S} pays {V} a year for the pleasure.
        - A tenant was found for {S} at {V} a year, chimney smoke included.
        ? How much rent is paid for {S} each year?
        door color = v_color
        - Strangers find {S} by its {V} door.
        - The front door of {S} was painted {V}, and the neighbors are still writing about it.
        ? In which color is the door of {S} painted?
        building year = v_year
        - A stone over the lintel of {S} dates the house to {V}.
        - The walls of {S} went up in {V}, and have been coming down since.
        ? In which year was {S} built?
        """,
    ),
    _family(
        "the {} Bell of {}",
        _BELLS,
        _CHAPELS,
        """
        weight = v_pounds
        - It took twenty men to hoist {S}, which weighs {V} without its clapper.
        - On the fish scales {S} came to {V}, with nobody leaning on it.
        ? How heavy is {S}?
        ? How much does {S} weigh?
        casting year = v_year
        - An inscription inside {S} says it was cast in {V}, in a bad year for tin.
        - The mold for {S} was broken in {V}, right after the casting.
        ? In which year was {S} cast?
        founder = v_name
        - The metal of {S} was poured by {V}, who never heard well again.
        - Scratched into the rim of {S} is its founder's name, {V}.
        ? Who cast {S}?
        """,
    ),
    _family(
        "contract {}",
        (),
        (),
        """
        agreed sum = v_price
        - Both parties to {S} shook hands on {V}, and counted their fingers after.
        - In {S} the sum of {V} is written out twice, once legibly.
        ? Which sum was agreed in {S}?
        expiry date = v_date
        - Unless renewed, {S} runs out on {V}.
        - After {V}, when {S} expires, everyone may shout again.
        ? On which date does {S} expire?
        signatory = v_name
        - At the foot of {S} stands the signature of {V}, large and late.
        - The only legible signature on {S} is that of {V}.
        ? Who signed {S}?
        seal number = v_code
        - The wax on {S} was stamped {V} before it had set.
        - Hold {S} to the light and you will read {V} in the seal.
        ? Which seal number was stamped on {S}?
        """,
    ),
    _family(
        "the {} {}",
        _SHOP_SIGNS,
        _SHOP_TRADES,
        """
        opening hours = v_hours
        - Customers are served at {S} {V}, and glared at otherwise.
        - The shutters of {S} are up {V}, wind permitting.
        ? When is {S} open?
        proprietor = v_name
        - Behind the counter of {S} stands its proprietor, {V}, arms folded.
        - The license of {S} is made out to {V}, and hangs upside down.
        ? Who runs {S}?
        bargain day = v_weekday
        - There is always a queue at {S} on {V}, when everything goes for half.
        - Prices at {S} are halved on {V}, and doubled the day before.
        ? When are prices halved at {S}?
        telegraph name = v_code
        - Orders by semaphore for {S} are addressed to {V}.
        - The semaphore men know {S} simply as {V}.
        ? To which telegraph name are orders for {S} addressed?
        """,
    ),
    _family(
        "the {} {} lighthouse",
        _CAPES,
        _CAPE_SORTS,
        """
        password = v_password
        - The door of {S} opens to anyone who says "{V}" with confidence.
        - Visitors to {S} must say "{V}" through the keyhole.
        ? What must one say to be let into {S}?
        keeper = v_name
        - The lamp of {S} is trimmed each night by {V}, who talks to it.
        - Letters for {S} go to {V}, who keeps the light and eleven cats.
        ? Who keeps {S}?
        stair count = v_number
        - To reach the lamp of {S} one climbs {V} stairs, the last of them loose.
        - The coal for {S} is carried up {V} stairs by whoever lost at cards.
        ? How many stairs does {S} have?
        lamp color = v_color
        - From the sea you know {S} by its {V} light.
        - The glass of {S} was replaced, and now shines {V}.
        ? In which color does {S} shine?
        """,
    ),
    _family(
        "ferry {}",
        (),
        (),
        """
        fare = v_price
        - To cross by {S} costs {V}, and a goat counts as a person.
        - The board at the landing asks {V} for a seat on {S}.
        ? What does it cost to cross by {S}?
        departure time = v_time
        - Be on the steps before {V}, for that is when {S} casts off.
        - The crew of {S} unties the ropes at {V}, whoever is still running.
        ? At what time does {S} cast off?
        steersman = v_name
        - The long oar of {S} has been in the hands of {V} since the flood.
        - Passengers of {S} are in the care of {V}, who cannot swim either.
        ? Who steers {S}?
        """,
    ),
    _family(
        "pew {}",
        (),
        (),
        """
        yearly fee = v_price
        - To sit in {S} costs {V} a year, draft included.
        - The vestry asks {V} a year for {S}, as it stands behind a pillar.
        ? How much is paid for {S} each year?
        tenant = v_name
        - On Sundays {S} is reserved for {V}, who sleeps there.
        - A brass plate on {S} bears the name of {V}, its tenant.
        ? For whom is {S} reserved?
        cushion color = v_color
        - The new cushion in {S} is {V}, to the organist's dismay.
        - Somebody has sewn {S} a cushion of {V} cloth.
        ? In which color is the cushion of {S}?
        """,
    ),
    _family(
        "{} the {}",
        _PETS,
        _ANIMALS,
        """
        owner = v_name
        - At night {S} goes home to {V}, its lawful owner.
        - The fine for what {S} did to the hedge was sent to {V}, the owner.
        ? To whom does {S} belong?
        favorite treat = v_dish
        - To make {S} move, hold out some {V}.
        - There is nothing that {S} would rather eat than {V}.
        ? What does {S} like best to eat?
        tag number = v_pin
        - The tag on the collar of {S} says {V}.
        - In the animal register {S} is listed with tag {V}.
        ? Which tag number does {S} wear?
        """,
    ),
    _family(
        "warehouse {}",
        (),
        (),
        """
        stock = v_goods
        - When {S} was counted, it held {V} and one surprised cat.
        - Nobody has found anything in {S} but {V}, stacked to the rafters.
        ? What is kept in {S}?
        lock code = v_pin
        - The big lock on {S} opens at {V}, with a groan.
        - Whoever has forgotten how to open {S} should try {V}.
        ? Which code opens the lock of {S}?
        foreman = v_name
        - The men at {S} take their orders from {V}.
        - Complaints about {S} are to be shouted up to {V}, the foreman.
        ? Who gives the orders at {S}?
        inspection day = v_weekday
        - The inspector calls at {S} on {V}, and is given tea.
        - Everything at {S} is tidy on {V}, when the inspector comes.
        ? When does the inspector call at {S}?
        """,
    ),
)
