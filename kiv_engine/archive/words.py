"""The archive's words: what its people, places and things are called. Values may be templates: see `grammar`."""


def lines(text: str) -> tuple[str, ...]:
    """The lines of a block of text, without its blank ones."""
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


def words(text: str) -> tuple[str, ...]:
    """The words of a list written with bars between them."""
    return tuple(word.strip() for word in text.replace("\n", " ").split("|"))


TITLE = "THE ARCHIVE OF PELLINGWATER"
PREFACE = (
    "Being the minutes, logs, letters, quarrels and recipes of one small harbor town, copied fair and left unsorted."
)
MONTHS = words("January|February|March|April|May|June|July|August|September|October|November|December")
SEASONS = ("winter", "spring", "summer", "autumn")
SMALL_WORDS = words("a|an|the|of|in|on|at|to|by|for|from|and|or|with|that|such|as|it|is")
# A title and its bearer's pronoun; each goes with one surname for the length of a volume.
TITLES = words(
    """Alderman:he|Widow:she|Sister:she|Brother:he|Captain:he|Doctor:she|Beadle:he|Dame:she|Magistrate:she|
    Constable:he|Mother:she|Uncle:he|Aunt:she|Professor:he|Sergeant:he|Deacon:he|Matron:she|Commissioner:he|Master:he|
    Mistress:she|Goodman:he|Abbess:she|Organist:he|Ferrymaster:he|Apothecary:she|Librarian:she|Bandmaster:he|Inspector:she"""
)
OFFICES = words(
    """Alderman|Widow|Doctor|Beadle|Magistrate|Constable|Professor|Sergeant|Deacon|Matron|Commissioner|Abbess|Organist|
    Ferrymaster|Apothecary|Librarian|Bandmaster|Inspector"""
)
CLOSINGS = lines("""
    So much for today.
    More tomorrow.
    Here the page ends.
    The candle is nearly out.
    The rest of this sheet was eaten by mice.
    Below this line there is only a ring left by a cup of tea.
    The remaining lines are blotted, and smell, even now, of pickled herring and lamp oil.
    Whoever copied this page drew a small snail in the corner, gave it a hat, and went home to supper.
    Stop.
    Enough.
    And so on.
    The end of the sheet is torn off, and the tear is neat, as if someone had needed the paper for a shopping list.
""")

NUMBERS = {
    "n9": (2, 9),
    "n20": (13, 39),
    "n31": (1, 28),
    "n99": (11, 99),
    "n300": (21, 300),
    "n999": (101, 999),
    "n9999": (1_001, 9_999),
    "n99999": (10_001, 99_999),
    "year_value": (1_203, 1_499),
}

WORDS: dict[str, tuple[str, ...]] = {
    "book_of": lines("""
        The Book of the {bookish} {book_noun}
        The Years of the {bookish} {book_noun}
        The Ledger of the {bookish} {book_noun}
        Papers from the {bookish} {book_noun}
    """),
    "bookish": words(
        """Leaking|Borrowed|Second|Painted|Unpaid|Missing|Crooked|Frozen|Noisy|Lost|Patient|Upside-Down|Mended|
        Singing|Forgotten|Salted|Stubborn|Tall|Ill-Tempered|Honest|Quarrelsome|Yellow|Late|Sunken|Whistling|Disputed"""
    ),
    "book_noun": words(
        """Roof|Bell|Ladder|Tide|Goose|Pump|Bridge|Chimney|Herring|Ferry|Staircase|Wedding|Turnip|Anchor|Umbrella|
        Lamp|Weathercock|Orchard|Cellar|Parade|Kettle|Fog|Trombone|Cheese|Almanac|Gate"""
    ),
    "cast_surname": ("{cast_pre}{cast_suf}",),
    "cast_pre": words("Tam|Ober|Pock|Lud|Quen|Bram|Hask|Dray|Mop|Fen|Gad|Wim|Trol|Snod|Hob|Yar|Crum|Pil|Vent|Nub"),
    "cast_suf": words("sbury|sworth|kettle|nacle|stoke|plow|gable|bottle|ridge|whistle"),
    "v_name": ("{v_first} {v_pre}{v_suf}",),
    "v_first": words(
        """Adela|Bastian|Celia|Dorian|Elspet|Florian|Greta|Hector|Ilse|Joram|Katrin|Lorenz|Mirabel|Nestor|Odile|
        Piers|Quirin|Rosamund|Silas|Tilda|Ulric|Verity|Wendel|Xenia|Yorick|Zelda|Ambrose|Beatrix|Corwin|Delphine"""
    ),
    "v_pre": words(
        """Ald|Birk|Cald|Darn|Elm|Farn|Glen|Hart|Ives|Kell|Lang|Marl|Nor|Oak|Penn|Rav|Sand|Tarn|Under|Wyn|Cran|Stan"""
    ),
    "v_suf": words("mere|dale|worthy|gate|combe|holt|ley|ford"),
    "few": words("two|three|four|five|six|seven|eight|nine|eleven|twelve"),
    "street": words(
        """Weir Lane|Candle Street|Eelpot Row|Sloping Lane|Tar Alley|Mustard Street|Ropewalk|Gander Hill|
        Lower Pump Lane|Netmakers' Row|Blind Horse Alley|Salt Steps|Pewter Street|Long Ditch|Hatbox Lane|
        Thimble Court|Barrel Hill|Old Mole Street|Creaking Stairs|Nettle Lane|Upper Pump Lane|Quince Street|
        Dripping Arch|Seven Doors"""
    ),
    "place": words(
        """the fish market|the tollhouse|the customs shed|the lower pump|the bandstand|the school gate|
        the salt barn|the rope yard|the north quay|the duck pond|the vestry|the weigh house|the drying green|
        the town oven|the ferry steps|the almshouse|the skittle ground|the old gallows|the bakehouse|
        the boat shed|the tannery|the little library|the clock stairs|the cooper's yard|the mill race|{inn}"""
    ),
    "inn": words(
        """the Drowned Cork|the Tired Heron|the Three Left Boots|the Ninth Wave|the Sober Monk|the Crab and Candle|
        the Last Ferry|the Upturned Boat|the Feathered Anchor|the Empty Purse"""
    ),
    "thing": words(
        """borrowed ladder|stuffed pike|brass weathercock|left boot|barometer|trombone|butter churn|wooden leg|
        umbrella|wedding hat|cracked bell|harpoon|spare rudder|iron stove|birdcage|copper kettle|accordion|
        wheelbarrow|pulpit|painted sign|rocking chair|fishing net|grandfather clock|sledge|lamp|parish pump handle|
        piano stool|compass|mousetrap|bathtub|coil of rope|portrait of the founder|cheese press|feather bed|
        hourglass|telescope|egg basket|oar|drum|scarecrow|bellows|snow shovel|gravy boat|chess set|cradle|
        spinning wheel|anvil|tea chest"""
    ),
    "things": words(
        """lanterns|eel traps|church candles|oak planks|roof tiles|hymn books|herring barrels|fishhooks|mattresses|
        pewter spoons|tin whistles|window panes|sailcloth patches|cabbages|turnips|cider jugs|door hinges|
        goose quills|wool blankets|brass buttons|clay pipes|onions|honey jars|horseshoes|walnuts|chamber pots|
        paper lanterns|sheepskins|candlesticks|smoked hams|bell ropes|wheel spokes"""
    ),
    "stuff": words(
        """salted herring|blue candles|lamp oil|dried pears|Sunday hats|black pepper|goose feathers|window glass|
        smoked eel|almond soap|barley sugar|ship's biscuit|yellow ink|raw wool|pickled walnuts|roof slates|
        cork floats|beeswax|mustard seed|copper nails|tea leaves|lavender oil|church bells|sea salt|green paint|
        playing cards|ginger root|fiddle strings|sealing wax|marmalade|oak barrels|wooden spoons"""
    ),
    "container": words("crates|barrels|sacks|chests|baskets|casks|bales|tubs|jars|boxes"),
    "animal": words(
        """goose|one-eyed cat|mule|goat|parrot|pig|donkey|swan|ferret|rooster|sheepdog|seal|magpie|tortoise|
        hedgehog|cow|pony|jackdaw"""
    ),
    "folk": words(
        """the coopers|the net menders|the bell ringers|the schoolchildren|the fishwives|the tanners|the choirboys|
        the watchmen|the lamplighters|the bakers|the ferrymen|the chimney sweeps|the rope walkers|the midwives|
        the glaziers|the trumpeters|the beekeepers|the widows of {street}|the visitors|the oldest men on the quay"""
    ),
    "matter": words(
        """the drains|the missing {thing}|the price of bread|the smell from {place}|the new bridge|
        the crooked chimney|the feud in {street}|the quality of the beer|the goose in the vestry|
        the ferry's timetable|the harvest supper|the color of the town hall door|the late clock|the rats|
        the fence by {place}|the noise of {folk}|the band's hats|the ghost in {street}|the pigeons|
        the election of a new beadle|the {thing} in the well"""
    ),
    "why": words(
        """on account of the fog|because nobody had brought a key|for want of chairs|owing to a wedding|
        because of the smell|since the tide would not wait|for reasons of economy|out of plain stubbornness|
        because the cat was asleep on it|by order of a committee nobody remembers appointing|as custom demands|
        for fear of the {animal}|since it was raining indoors as well|because someone had painted over the notice|
        to spare the feelings of {folk}|as the ladder had been lent out|in memory of better soup"""
    ),
    "when": words(
        """at low tide|before breakfast|after the second bell|toward evening|in broad daylight|during the sermon|
        between two showers|on market day|shortly before midnight|at the stroke of noon|while the band was playing|
        in the middle of supper|at first light|on the way to {place}|on the eve of the fair|
        just after the ferry left"""
    ),
    "lead": words(
        """Toward evening,|After the second bell,|On the way home,|Before anyone could object,|By common consent,|
        In the confusion,|To be fair,|According to {folk},|As usual,|Rather late in the day,|That same week,|
        If {folk} are to be believed,|Without a word,|At the corner of {street},|Not for the first time,|
        Between two showers,|In the end,|As so often in {season},|Behind {place},|While the kettle boiled,"""
    ),
    "tail": (
        *("" for _ in range(9)),
        *lines("""
            , which surprised nobody
            , to general relief
            , to the surprise of the {animal}
            , though opinions differ
            , as {folk} had foretold
            , and the matter rested there
            , with the usual consequences
            , or so it is told in {street}
            , much to the annoyance of {folk}
            , and no harm was done
            , {why}
            , in spite of the weather
            , for the third time since {pastmonth}
            , and the soup got cold meanwhile
            , without asking {folk}
            , whatever the almanac says
        """),
    ),
    "pastmonth": MONTHS,
    "verdict": words(
        """a disgrace|a triumph|no worse than last year|an omen|a waste of good rope|the talk of {street}|
        very nearly art|a matter for the bishop|entirely the fault of {folk}|an improvement|a sign of the times|
        too salty|a great comfort|not what was ordered|beneath comment|the finest in living memory|
        a nuisance by day and a terror by night"""
    ),
    "mood": words(
        """cheerful|sour|thoughtful|damp|unusually polite|suspicious|hungry|out of breath|covered in flour|
        very quiet|in high spirits|offended|half asleep|pink with effort|entirely unrepentant|
        wrapped in a tablecloth"""
    ),
    "good": words(
        """patience|a fine singing voice|thrift|soup|honest weights|knots|good handwriting|a talent for silence|
        long memory|quick temper|excellent cheese|skill with bees|kindness to mules|loud prayers|punctuality"""
    ),
    "food": words(
        """eel pie|barley soup|pickled walnuts|onion tart|plum dumplings|smoked haddock|turnip mash|
        goose in mustard|seed cake|crab broth|honey bread|cabbage rolls|apple fritters|pease pudding|
        herring on toast|quince jelly|oat cakes|mutton stew"""
    ),
    "spice": words("nutmeg|caraway|mustard|dill|black pepper|ginger|saffron|thyme|salt|juniper|fennel seed|bay leaf"),
    "ware": words(
        "an iron pan|the second-best pot|a stone jar|the deep dish|a clean bucket|the big copper|a borrowed bowl"
    ),
    "remedy": words(
        """goose fat|nettle tea|a hot brick|a poultice of onions|brandy|prayer|sea bathing|a red flannel sock|
        silence|honey and vinegar|a brisk walk to {place}|a day in bed"""
    ),
    "boat": words(
        """barge from upriver|three-masted stranger|eel boat|coal lighter|mail cutter|timber raft|leaky ketch|
        herring smack|pilot boat|salt barge|pleasure boat with no one aboard|dredger|whaler, long retired|
        brig under patched sails"""
    ),
    "wind": words(
        """northeasterly|light and shifting|strong from the west|a dead calm|southerly with drizzle|
        gusting from the hills|fair for once|backing east by noon|steady from seaward|sulky"""
    ),
    "winter_weather": words(
        """hard frost|sleet|snow to the doorsills|a thin gray fog|ice on the mill race|bitter wind off the bar|
        still cold|a sky like pewter|hail at noon|black ice in {street}"""
    ),
    "spring_weather": words(
        """soft rain|a bright cold morning|a scattering of showers|mud everywhere|the first warm wind|a late frost|
        a sky full of swallows|a rainbow over {place}|blossom and drizzle|sun between squalls"""
    ),
    "summer_weather": words(
        """heat over the flats|thunder inland|a cloudless day|warm haze|dust in {street}|a sea like glass|
        a plague of midges|one short shower|a copper sunset|long light until ten"""
    ),
    "autumn_weather": words(
        """a gale from the west|thick fog off the marsh|a golden afternoon|steady rain|a litter of leaves|
        a high tide|a noise of wild geese|the first frost|a red moon|wind in the chimneys"""
    ),
    "sum": words(
        "{few} crowns|{n20} pence|{n99} crowns|half a crown|{few} crowns and {few} pence|the price of a good hat"
    ),
    # Values of facts.
    "v_date": tuple(f"{month} {{n31}}" for month in MONTHS),
    "v_number": ("{n99}", "{n999}", "{n300}"),
    "v_pounds": ("{n999} pounds", "{n9999} pounds"),
    "v_feet": ("{n99} feet", "{n20} fathoms", "{n300} feet"),
    "v_code": tuple(f"{a}{b}-{{n9999}}" for a, b in zip("BDFGHKLMNPQRSTVWXZ", "KWTRZNXQMLVBPHDGFS", strict=True)),
    "v_pin": ("{n9999}", "{n99999}"),
    "v_price": ("{n99} crowns", "{n300} crowns", "{n9} crowns and {n20} pence"),
    "v_year": ("{year_value}",),
    "v_time": words(
        """half past six|a quarter to eight|ten minutes past nine|noon|a quarter past four|half past eleven|
        twenty minutes to seven|five in the morning|a quarter to midnight|half past two|ten minutes to three|
        twenty minutes past ten|a quarter past seven|half past five"""
    ),
    "v_hours": ("from {v_open} to {v_shut}",),
    "v_open": words("six|seven|half past seven|eight|half past eight|nine|ten|eleven"),
    "v_shut": words("noon|one|two|half past two|three|four|half past four|five"),
    "v_weekday": tuple(
        f"the {which} {day} of the month"
        for which in ("first", "second", "third", "last")
        for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    ),
    "v_goods": ("{few} {container} of {stuff}", "{n99} {container} of {stuff}"),
    "v_color": tuple(
        f"{shade} {color}"
        for shade in ("dark", "pale", "bright", "smoky", "faded", "milky")
        for color in ("green", "blue", "red", "yellow", "gray", "violet", "orange", "brown")
    ),
    "v_password": ("{pass_a} {pass_b} {pass_c}",),
    "pass_a": words("copper|velvet|hollow|silver|burning|frozen|crimson|paper|wooden|marble|amber|thirsty|gentle|iron"),
    "pass_b": words("lantern|pelican|thimble|walnut|ladder|trumpet|candle|beetle|saddle|teacup|barley|feather|acorn"),
    "pass_c": words("nine|river|at dawn|sleeping|forty|meadow|overboard|tomorrow|uphill|seventeen|harvest|twice"),
    "v_trade": words(
        """clock mender|bell founder|eel smoker|map painter|rope maker|glass blower|bee keeper|button carver|
        wig maker|barrel cooper|candle dipper|ship's carpenter|salt boiler|toy maker|lock smith|ink grinder|
        lace weaver|well digger|sign painter|oven builder|letter writer|fiddle maker|snuff grinder|mole catcher|
        goose herd|paper maker|sail maker|tooth puller|kite maker|bridge keeper"""
    ),
    "v_dish": ("{food} with {with_food}",),
    "with_food": words(
        """mustard|plum sauce|brown butter|stewed pears|pickled onions|horseradish|sour cream|fried sage|honey|dill|
        red cabbage|walnuts|green apples|burnt sugar"""
    ),
    "v_place": words(
        """behind the bread oven|under the third stair|inside the hollow elm|above the stable door|
        in the rain barrel|beneath the sundial|in a blue teapot|up the cold chimney|between two hymn books|
        under the beehive|in the left boot|behind the founder's portrait|in the flour bin|under a loose brick|
        inside the cuckoo clock|below the anchor stone|in the cheese cellar|on top of the linen press|
        in the toe of a stocking"""
    ),
    "pastime": words(
        "trombone|bagpipes|violin, or a part of it|drum|art of poetry|breeding of snails|whistling of psalms"
    ),
    "nightfall": words("nightfall|midnight|the second bell|closing time|moonrise|supper"),
    "mood2": words("wrong|odd|written in flour|in dispute|prime|lucky"),
    "ailment": words("gout|melancholy|hiccups|baldness|sore feet|second thoughts|toothache|bad dreams|a stiff neck"),
    "animal2": words("geese|goats|cats|magpies|hedgehogs|donkeys|jackdaws|tortoises"),
    "quill": words("goose quill|burnt stick|borrowed pen|fork dipped in ink|pencil stub"),
    "place2": words("cellar of {inn}|lower end of {street}|yard behind {place}|crypt|skittle alley"),
    "ordinal": words("third|fourth|fifth|sixth|seventh|ninth|twelfth"),
    "verdict2": words(
        "well spent|loudly lived|lived mostly in slippers|without a dull Thursday|too short for its stories"
    ),
    "condition": words(
        """much mended|missing its lid|sound but ugly|chewed at one end|in the original wrapping|slightly haunted|
        without a handle|painted to look like marble|in use as a hen house|better than it looks|not to be touched"""
    ),
}
WORDS["weather2"] = tuple(word for season in SEASONS for word in WORDS[f"{season}_weather"])
WORDS["wind2"] = WORDS["wind"]
