"""The archive's sentences, but for those that state facts: templates, by the kind of section they belong to."""

from kiv_engine.archive.words import lines

# W writes or presides throughout a section; A and B are two other people of the paragraph.
COMMON = lines("""
    {lead} {A} was seen carrying {a thing} toward {place}{tail}.
    {A} and {B} have not spoken since {pastmonth}, {why}.
    {folk!} declared the whole business {verdict}.
    Nobody could say who had left {a thing} on the steps of {place}.
    {lead} someone found {few} {things} under the floor of {place}.
    There was {weather}, and {folk} stayed indoors.
    {A} is of the opinion that {B} should be given less to do, or more{tail}.
    {lead} the {animal} got loose in {street} and was recovered {when}.
    There is still no news of the {thing} that {A} lent to {folk} in {pastmonth}.
    {B} paid {sum} for {a thing} and called it {verdict}.
    {lead} the bells rang {when}, {why}.
    {A} slipped in {street}, blamed {B}, and was treated with {remedy}.
    In {street} they are painting the shutters again{tail}.
    Of all the virtues, {folk} value {good} most and {good} least.
    {lead} {A} sang, which emptied {place} in under a minute.
    A stranger asked the way to {place}, was given {few} different answers, and is now engaged to be married.
    {B} keeps {a animal} that can tell {folk} apart by smell{tail}.
    The roof of {place} has been mended with {things}, and it shows.
    {lead} {few} {things} were exchanged for {a thing}, and both sides felt cheated.
    {A} walked home {mood}, {why}.
    {folk!} have asked for a new {thing}, the old one being {verdict}.
    No one slept in {street}, where {A}'s {animal} had opinions about the moon.
    {lead} the talk turned to {matter}, and hats were put on.
    {A} has taken up the {pastime}, to the despair of {B}.
    The tide took away {few} {things} and brought back {a thing}{tail}.
    For supper there was {food}, and afterward there was regret.
    {B} insists that {a animal} cannot be taxed, and has written to {A} about it {few} times.
    {lead} a window was broken at {place}; the {animal} has an alibi.
    By {nightfall} only {A} and {a animal} were left at {inn}.
    Whoever borrowed the key to {place} is asked to return it {when}.
    {A} found the answer in an old almanac, and {B} found it in {a thing}{tail}.
    It costs nothing to be civil, as {A} told {B}, and it costs {sum} not to be.
    {lead} {folk} marched past {place} with {a thing} on a pole.
    The smell of {food} hung over {street} until {nightfall}.
    {A} counted the {things} twice and got two answers, both of them {mood2}.
    Down at {place} they still laugh about {A} and the {thing}.
    {lead} {B} fell asleep over {matter}, and woke {mood}.
    A petition about {matter} gathered {n99} names, {few} of them real.
    {folk!} gave {few} {things} to the poor, who gave them back.
    {A} says that there was {weather} on the day in question; {B} remembers only {food}.
    There was a collection for {B}'s {thing}, which raised {sum} and some eyebrows.
    {lead} a letter arrived for someone who had moved away {n20} years ago{tail}.
    It is whispered in {street} that {A} once danced with {a animal} {when}.
    The price of {stuff} has gone up again, {why}.
    {A} maintains that {stuff} should never be stored beside {stuff}.
    {lead} the children of {street} built a boat out of {things}, and it very nearly floated.
    {B} was presented with {a thing} for {good}, and bore it bravely.
    {folk!} say little about {matter}, and say it often.
    Somebody has chalked a picture of {A} on the wall of {place}; the nose is {verdict}.
    {lead} the lamp at {place} went out {when}{tail}.
    An attempt to weigh {A}'s {animal} ended in the duck pond.
    {B} has resolved to be kinder to {folk}, starting on Monday.
    Between {street} and {place} the mud is deep enough to lose {a thing} in, and {A} did.
    {lead} {A} apologized to {B}, {why}.
    A barrel marked as {stuff} turned out to hold {things}, and is {verdict}.
    {A} cured {a animal} with {remedy}, and charged {sum}.
    The younger people prefer {food}; the older people remember when there was only {food}.
    {lead} the wind carried {B}'s hat as far as {place}{tail}.
    In the matter of {good}, {A} sets an example, chiefly to {folk}.
    {B} has lived in {street} for {n20} years and is still called the new one.
    {lead} a procession of {folk} met a procession of {folk}, and neither would give way.
    At {inn} they serve {food} on Thursdays, {why}.
    The {thing} was auctioned {when} and went to {A} for {sum}{tail}.
    {A} has a cousin in the hills who says that {matter} would never be tolerated there.
    {lead} {B} let it be known that {remedy} is good for {ailment}.
    The ladder was returned with {few} rungs fewer than before.
    {folk!} were promised {food} and were given a speech.
    {A} planted {few} rows of onions behind {place}, and {B}'s {animal} harvested them.
    Everyone agreed that {weather} was to blame{tail}.
    {lead} {A} opened the wrong door at {place} and joined a choir by mistake.
    There are now more {animal2} than voters in {street}.
    {B} writes with {a quill} and reads with {a thing} close at hand, in case of visitors.
    Nothing was stolen but {a thing}, and that was returned {when} with a note of complaint.
    {lead} the {place2} flooded to the depth of {a animal}.
    {A} will not hear a word against {folk}, having been deaf since {pastmonth}.
    Some blame {A} for {matter}, others blame {a thing}.
    {B} gave a lecture on {matter}, with lantern pictures, to an audience of {few} and {a animal}.
    {lead} {folk} refused to move until the {thing} had been blessed, oiled or sold.
    {A} bought back {A.his} own {thing} at the fair, and was glad of the bargain.
    A very small earthquake was felt at {place}, or else {B} sat down.
    {A} painted the door of {place} overnight, and denies it with paint on {A.his} sleeves.
    {lead} {few} {container} of {stuff} rolled down {street} and were not stopped by {B}.
    In {street} there is a house with {few} doors, and {A} has been shown out of all of them.
    {B} has begun to collect {things}, {why}.
    {lead} the {animal} was given a medal for {good}, and ate the ribbon.
    No one has seen the {thing} since {folk} promised to look after it.
    A rumor about {A} and {B} reached {place} before either of them did.
    {lead} {folk} played skittles against {folk}, and lost a window and {sum}.
    {A} taught {a animal} to knock, which was a mistake.
    {B}'s new hat was mistaken for {a thing}, twice, {when}.
    To settle {matter}, {A} suggested a vote, {B} suggested a duel, and {folk} suggested {food}.
    {lead} a hole was dug at {place}, looked into, and filled again{tail}.
    {A} will lend you {a thing}, but not without its history.
    Three generations have argued about {matter}, and the fourth is learning to talk.
    {lead} {B} swapped {a thing} for {few} {things} and {a animal}.
    On wet days {A} can be found at {place}, advising {folk}.
    {folk!} hold that {weather} brings luck, and that {B} does not.
    {lead} someone tied {a animal} to the bell rope, and the town rose an hour early.
    {A} owns two clocks, and lives by the third.
    A map was found that shows {street} running uphill both ways; {folk} say it is accurate.
    {B} knows a cure for {ailment}, but it involves {stuff} and {a thing}.
    {lead} {A} challenged {B} to a race from {place} to {place}, and both got lost.
    The fair brought {a animal} in a waistcoat, {few} jugglers, and a great loss of {things}.
    {A} sat for a portrait; the painter asked for {sum} and then for a different face.
    {lead} {folk} signed a truce with {folk} over {food}.
    {B} claims to have been born {when}, {why}.
    There is a bench at {place} on which nobody sits, out of respect for {A}'s {animal}.
    {lead} the pump gave {stuff} instead of water, and nobody complained.
    {A} named a boat after {B}, who has asked for the name back.
    What {folk} do with so many {things} is {B}'s favorite question.
""")

KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "council": {
        "head": lines("""
            Minutes of the Town Council, {date}
            Minutes of the Extraordinary Council on {matter}, {date}
            Minutes of the Committee for Bridges and Drains, {date}
        """),
        "open": lines("""
            As the town hall was being aired, the council met at {place}, {W} standing on {a thing} to be heard.
            The council met {when} with {W} in the chair and {few} members present, the others being {mood}.
            {W} opened the meeting with a blow of the gavel that woke two members and {a animal}.
            Present were {W}, {A}, {B} and a delegation of {folk}, who had brought their own chairs.
            The previous minutes were read, disputed, and approved {why}.
        """),
        "body": lines("""
            {B} asked for an inquiry into {A}, and {A} asked for an inquiry into the inquiry.
            The clerk was told to write to {folk}, firmly, and not to send it.
            A gift of {few} {things} from {folk} was accepted with suspicion.
            Members agreed that {matter} is {verdict}, and that someone else should say so.
            {A} laid {a thing} upon the table as evidence, where it remains.
            {A} moved that something be done about {matter}; {B} moved that it not be done yet.
            The motion on {matter} was carried by {few} votes to one, {A} voting with both hands.
            {A} asked whether the {thing} had been paid for, and was ruled out of order.
            It was resolved to buy {few} {things} for {place}, at no more than {sum}.
            A letter from {folk} was read aloud, to some laughter, and passed to the committee for drains.
            {B} wished it minuted that {A} had yawned.
            The treasurer reported a surplus of {sum}, which was at once disputed, {why}.
            {A} proposed a tax on {things}, and withdrew it when the window broke.
            The question of {matter} was postponed to {pastmonth}, as it has been since anyone can remember.
            Permission was given to {folk} to use {place} for rehearsals, provided that nobody hears them.
            {W} reminded the members that {a animal} may attend but not vote.
            The subcommittee on {matter} has met {n20} times and agreed on the color of its sash.
            {A} spoke for an hour on {matter}, and {B} spoke for as long against listening.
            An amendment in the name of {B} was eaten by {a animal} and fell.
            The surveyor finds {place} to be leaning; {A} finds the surveyor to be leaning.
            The sum of {sum} was set aside for {a thing}, and the rest for soup.
        """),
        "close": lines("""
            The meeting closed {when}, {why}, and {W} took the gavel home.
            There being no other business that anyone would admit to, {W} adjourned to {inn}.
            The next meeting will be about {matter} again, and coats are advised.
            Thanks were voted to {W}, narrowly.
        """),
    },
    "harbor": {
        "head": lines("""
            From the Log of the Harbor Office, {date}
            Harbor Log kept by {W}, {date}
            Tides, Arrivals and Grievances, {date}
        """),
        "open": lines("""
            First bell: {W} on watch, {weather}, wind {wind}, and {a boat} asking the way.
            Wind {wind}, {weather}, and {W} on duty since the first bell.
            Log of {W}: wind {wind}, glass falling, tea cold.
            Opened the office {when}; wind {wind}; {few} boats in the roads and {a animal} on the desk.
        """),
        "body": lines("""
            Signaled to {a boat} to keep off; it signaled back something about {A}.
            {few!} gulls, one seal and {A} on the slipway at dawn.
            Paid the divers {sum}; they had brought up {few} {things} and a cold.
            The crane lifted {a thing} by mistake, and {B} with it.
            Spoke to {a boat} through the trumpet about {matter}.
            {a boat} asked for water and {stuff}, and was sent on with good wishes.
            The wind went {wind} {when}, and {folk} took in their washing.
            {a boat} ran on the bar with {container} of {stuff} aboard; the crew waded ashore, {mood}.
            {A} came down to complain about the foghorn and stayed to sound it.
            High water stood {few} fingers above the mark that {B} cut in the year of the flood.
            Hauled {a thing} out of the basin, the {ordinal} this {season}.
            Collected {sum} in dues and {few} excuses.
            The {boat} on the outer mooring has been quiet for days; its {animal} has not.
            {B} reports a light to seaward, then a second, then that {B.he} had been looking at the stars.
            Sounded the channel {when}: mud, mud, {a thing}, mud.
            {folk!} were warned off the slipway again, and again they brought a picnic.
            {a boat} saluted with one gun, and it took the chimney off {place}.
            Refused a landing permit to {a boat} full of {things}, {why}.
            The buoy off the north quay is adrift and has been sighted in {street}.
            {A} rowed out with {food} for the dredger, and came back with {a thing}.
            Fog so thick {when} that {A} delivered the mail to {a animal}.
        """),
        "close": lines("""
            Lamp lit {when}; relieved by {A}, who is {mood}.
            Nothing further to log but {weather}.
            Signed, {W}, who would rather be in {street}.
            Closed the book with the tide still arguing at the steps.
        """),
    },
    "letter": {
        "head": lines("""
            A Letter from {W} to a Cousin in the Hills, {date}
            A Letter Found in {a thing}, {date}
            A Letter That Was Never Sent, {date}
            From {W} to the Editor, Not Printed, {date}
        """),
        "open": lines("""
            You will laugh, but I am writing this under {a thing}, as the roof is being mended by {folk}.
            My dear cousin, you ask how we are, and the answer is {mood}, all of us, and {A} most of all.
            Dear friend, your parcel came {when}, and the {thing} in it was hardly broken.
            Forgive my hand; I write this at {place}, with {a animal} leaning on my arm.
            You will have heard about {matter}, so I shall tell you only what is true.
        """),
        "body": lines("""
            I have your mother's {thing} still, and think of her whenever it falls on me.
            {A} has grown so thin that {A.his} shadow has been reported missing.
            If you come by ferry, bring {food}; if by road, bring {a thing} to defend yourself.
            I keep meaning to tell you about {B} and the {things}, but there is not enough ink.
            The house is well, apart from the roof, the floor, and {folk} next door.
            You would not know {street} now; even the {animal} has a new hat.
            I said nothing to {A}, but I said it in such a way that {A.he} noticed.
            Send me {things} if you can, for here one gets only {stuff}.
            {B} asks to be remembered to you, and also asks for {sum}.
            I have been reading by {weather}, if one can call it light.
            Between you and me, {matter} is {verdict}.
            My neighbor plays the trombone {when}, and I have answered with {a thing}.
            I dreamed of you, carrying {a thing} up {street}, and you looked well.
            We had {food} on Sunday, and I thought of your kitchen and wept into the mustard.
            The doctor recommends {remedy}, but then she recommends it to everyone, also for {ailment}.
            {A} has proposed to me again, this time in writing, with {few} spelling mistakes.
            Do not believe what {B} wrote to you about {matter}; the {animal} was never in danger.
            I enclose a lock of hair from the {animal}, as you asked.
            I went to see {folk} about {matter}, and they offered me a chair and {food}.
            At my age one does not climb {place} for a view, one climbs it for a wager.
            Tell the children that the {thing} is theirs when I am gone, and that I feel very well.
        """),
        "close": lines("""
            In haste and with love, your {W}.
            The candle is a stump and the {animal} wants the chair, so good night; ever yours, {W}.
            Burn this, or better, lend it to no one but your sister; yours, {W}.
            I remain, for want of a coach, your faithful {W}.
        """),
    },
    "news": {
        "head": lines("""
            The Pellingwater Trumpet: Town and Quay, {date}
            The Pellingwater Trumpet: Things Overheard, {date}
            The Pellingwater Trumpet: Corrections, {date}
        """),
        "open": lines("""
            {few!} things happened in town this week, and {W} saw most of them from the window of {inn}.
            Readers have asked this column about {matter}, and this column has asked {W}.
            It has been {a season} of surprises, of which {a thing} in {place} was not the least.
            Our correspondent {W} reports from {place}, where there is {weather}.
            We were wrong last week about {A}, and we are pleased to be wrong about {B} as well.
        """),
        "body": lines("""
            {A} has opened an exhibition of {things}; entry is free, leaving is {sum}.
            The editor has received {a thing} through the window, and thanks the sender.
            In sport, {folk} beat {folk} by {few} goals to a broken fence.
            A course in {good} begins at {place} {when}; bring your own chair.
            Sighted over {street}: a light, moving slowly, later identified as {B} with a pipe.
            A crowd of {n99} gathered at {place} to see {A} lift {a thing} with one hand.
            Our critic calls the concert of {folk} {verdict}.
            Lost {when} near {place}: {a thing}, of value only to the person who will be blamed.
            Found in {street}: {few} {things} and {a animal}, all answering to the same name.
            {A} wishes to state that the {thing} was a gift.
            The pie contest ended in a draw between {A}'s {food} and {B}'s {food}, and a short fight.
            In last week's issue a line was dropped from the report on {matter}; it was the only good one.
            For sale: {a thing}, used once, by {A}, who is recovering.
            The weather prophet promises {weather2}; readers should therefore expect the opposite.
            Asked for a comment on {matter}, {B} shut the door, then opened it to say that it was shut.
            Wedding bells in {street}, where {folk} have been throwing {things} since dawn.
            This newspaper has never said that {A} resembles {a animal}; it printed a drawing.
            A reader writes that {folk} should be heard less and fed more.
            The regatta was won by {a boat} that had merely been trying to leave.
            Rumors that {place} is to be sold are {verdict}, says {A}, who has offered {sum}.
            The new play at {inn} has {few} acts, and the audience left after each of them.
        """),
        "close": lines("""
            Letters on {matter} are now closed, as is our window.
            More on this next week, unless {A} buys the newspaper first.
            So much for this week; the editor is {mood}.
        """),
    },
    "inventory": {
        "head": lines("""
            Inventory of {place}, Taken {date}
            Inventory of the Estate in {street}, Taken by {W}, {date}
            List of Things Left in the Town Hall, {date}
        """),
        "open": lines("""
            Begun by {W} {when}, with a lamp, a ladder and {folk} looking in at the window.
            Counted by {W} in the presence of {A} and {a animal}, {when}.
            {W} counted and {B} wrote, until they changed places and found different numbers.
            What follows was found behind {few} doors, one of them painted on.
        """),
        "body": lines("""
            Item: a map of the town with {street} left out, on purpose.
            In a locked drawer, {a thing} and the key to the drawer.
            Item: {container} marked {stuff}, containing letters from {A}.
            By the door, {a thing} which {B} says was always there.
            Item: {few} {things} of unknown purpose, oiled.
            Item: {few} {things}, of which one is good.
            Item: {a thing}, {condition}, said to have belonged to the founder.
            In the cupboard, {n20} {things}; under the cupboard, {a animal}, asleep.
            On the upper shelf stand {few} {container} of {stuff}, {condition}.
            Item: {a thing} with a label reading "do not lend to {A}".
            A box of {things}, valued by {A} at {sum} and by {B} at nothing.
            Item: {n20} pairs of gloves, all left.
            Behind the curtain, {a thing}, {condition}; behind that, a second curtain.
            The cellar holds {container} of {stuff}, and water to the knee.
            Item: one portrait of {a animal} in the dress of an alderman, {condition}.
            Of the {n99} {things} on the old list, {few} remain, and {A} is using two of them.
            Item: {few} keys, fitting nothing but {a thing}.
            Item: {a thing} and {a thing}, tied together with string for reasons now lost.
            In the attic, {stuff}, enough for a siege or a wedding.
            Item: {few} chairs, on loan to {folk} since {pastmonth}.
            Missing: the {thing}, the {thing}, and the person who had the list.
        """),
        "close": lines("""
            Sworn to be complete by {W}, apart from what is not here.
            Total value {sum}, not counting the {animal}, who cannot be sold.
            The count was then stopped {why}.
        """),
    },
    "court": {
        "head": lines("""
            Notes of the Petty Court, {date}
            Notes of the Court of Small Nuisances, {date}
            The Case of the {thing}, Heard {date}
        """),
        "open": lines("""
            The court sat at {place}, its own room being full of {things}, with {W} on the only chair.
            Before {W}: {A} against {B}, concerning {a thing} and an unkind remark.
            The bench, which is to say {W}, heard {few} cases before lunch and regretted most of them.
            {W} took the bench {when} and asked that the {animal} be removed from it.
        """),
        "body": lines("""
            {B} wished to be tried together with the {animal}, for company.
            The map shown by {A} was found to be a drawing of {B}.
            It was ruled that {food} may be evidence, but not twice.
            Bail was set at {sum} and {a thing}.
            {A} objected to the word {ailment}, and it was withdrawn.
            The accused admitted the {thing} but denied the {animal}.
            {A} testified that {B} had shouted from {place}, and that it rhymed.
            Asked where {A.he} had been {when}, {A} said at {place}; asked again, {A.he} said it louder.
            The {thing} was shown to the court, which did not like it.
            {folk!} appeared as witnesses and sang their evidence in two parts.
            Fined {sum} for the goose, and {sum} for what was said about the goose.
            The court finds that {a thing} over a fence is not a greeting.
            {B} offered {food} in settlement, and {A} was seen to waver.
            Counsel for the {animal} asked for more time, and for {food}.
            It was held that {a thing} thrown in anger belongs to whoever it lands on.
            The sergeant produced {few} {things}, and later the pocket they had come from.
            {A} called the charge {verdict}, and then, on advice, called it nothing at all.
            A stay of {few} weeks was granted {why}.
            The second witness had seen nothing, but had seen it very clearly.
            Damages of {sum} were awarded to {B}, together with the {thing}, which {B.he} declined.
            The jury withdrew to {inn}, and sent word that it might be some time.
        """),
        "close": lines("""
            Judgment is reserved until {W} has had supper.
            Both parties were bound to be civil until {pastmonth}.
            The court rose {when}, and so did the price of {stuff}.
            Costs to be shared, and the {thing} to be sawn in half.
        """),
    },
    "parish": {
        "head": lines("""
            From the Parish Register, {date}
            Parish Notes by {W}, {date}
            Vestry Book, {date}
        """),
        "open": lines("""
            A thin congregation, {weather}, and {W} with a cold in the pulpit.
            {W} preached {when} on {good}, and the congregation was {mood}.
            Baptized this week: {few} infants, one of them twice, {why}.
            The vestry met under the dry end of the roof, {W} presiding.
        """),
        "body": lines("""
            A dove got into the tower {when}, and would not be baptized.
            {A} has carved {few} new saints; they all look like {B}.
            The harvest altar was eaten by {a animal} before the second hymn.
            Hymn books lent to {folk} came back with other hymns in them.
            The tower clock and {B} disagree by {few} minutes, and both are wound on Sundays.
            The banns were read for a couple from {street}, and {folk} coughed.
            The collection came to {sum}, {few} buttons and {a thing}.
            The organ lost another pipe, and {A} now hums that note.
            {B} has given {few} {things} to the church, and wishes this to be widely known.
            A funeral passed {when}, and met the wedding party at {place}; {folk} attended both.
            {A} was married to a person from the hills, {weather}, {few} guests, {a animal}.
            The mice have reached the {ordinal} psalm.
            The choir has asked for {stuff}, and the sexton for peace.
            It is forbidden, once more, to hang {things} in the tower.
            {A} was asked not to keep time with {a thing}.
            Candles used: {n99}; candles paid for: {n20}.
            The christening robe was found at {place}, where it had been used to strain {food}.
            The bishop's visit went well until the {animal}.
            {B} slept through {few} hymns and woke for the blessing, {mood}.
            Alms of {sum} went to {folk}, who spent them on {food}.
            The gutter over {street}, mended by {A} in {pastmonth}, is again {verdict}.
        """),
        "close": lines("""
            Entered by {W}, by the light of {few} candles.
            May the roof over {A} hold until {pastmonth}.
            The register is dry, which is more than can be said of the vestry.
        """),
    },
    "weather": {
        "head": lines("""
            Weather Diary of {W}, {date}
            Observations Made from a Window in {street}, {date}
            The Sky over Pellingwater, {date}
        """),
        "open": lines("""
            This being the window seat of {W}, I begin as always with the view: {weather}, and {A} hurrying.
            Rose {when}: {weather}, wind {wind}, and no bread.
            Today {weather}, as I, {W}, foretold to an empty room.
            I set the instruments out {when}, and {a animal} read them first.
        """),
        "body": lines("""
            Frogs silent {when}, {folk} not.
            Fog in {street} so thick that {A} leaned {a thing} against it.
            Evening red, morning gray, {B} pale at the thought of {food}.
            Caught the first drop of the shower in {a thing} and the rest in my collar.
            I sent up a kite with {few} {things} on its tail, and it came down in {street}.
            The glass stands at "change", where {A} has painted it fast.
            Wind {wind} until noon, then {wind2}.
            My left knee, which has never been wrong, says {weather2}.
            The clouds over {place} had the shape of {a thing}, later of {a animal}.
            {few!} drops fell in the gauge, and one of them was tea.
            Swallows low, smoke low, spirits of {folk} low.
            A halo around the moon, and another around {A}, who was carrying the lamp.
            {B} disputes my rainfall, and has set up a rival bucket.
            So still {when} that one could hear {A} thinking about {matter}.
            The old people compare it with the {season} of the great {thing}, but they compare everything with that.
            Hung out {few} {things} to test the damp; they are damp.
            The puddle in {street} has been given a name.
            A rainbow ended in the yard of {place}, where they dug, and found {a thing}.
            Thunder far off, or {folk} moving {a thing}.
            The {animal} came in by itself, and that means wind.
            Measured the shadow of the weathercock, argued with {A}, measured it again.
        """),
        "close": lines("""
            Tomorrow I expect {weather2}, and {food}.
            Put the instruments to bed {when}.
            The stars came out, first one, then all the rest at once.
        """),
    },
    "manifest": {
        "head": lines("""
            Ship's Manifest and Remarks, {date}
            Manifest of {a boat}, {date}
            Customs Book of {W}, {date}
        """),
        "open": lines("""
            {W} found {a boat} at the quay that was not in the book, and made room for it in the margin.
            Inspected by {W}, {few} hatches open and one that would not.
            {W} went aboard {a boat} {when}, with a lantern and low expectations.
            Bill of lading in a poor hand; {W} read it twice and smelled it once.
        """),
        "body": lines("""
            The parrot was asked for its papers and quoted them.
            Entered twice: {few} {container} of {stuff}; entered never: the {animal}.
            Weighed {a thing} with {A} on it, then {A} without it, and made the subtraction.
            Contents of the captain's chest: {things}, {stuff}, regret.
            For the account of {folk}: {few} {things}, opened and sniffed.
            Declared as {stuff}; found to be mostly {stuff}, and a hammock.
            Forward hold: {container} of {stuff}, well lashed, one weeping.
            {few!} {container} marked for {place}, and one marked "{A}, private".
            The mate swears that the {animal} is crew.
            Seized {few} {things}, {why}.
            Duty reckoned at {sum}, and paid in {stuff}.
            Ballast of {things}, for want of stones.
            Aft, behind a false wall, {a thing} and a very quiet passenger.
            One bale burst {when}, and the quay was white with {stuff}.
            The cook offered {food}, which was entered as a bribe and eaten as evidence.
            Short by {few} {container}; the captain blames {weather}, the mate blames the captain.
            {A} signed for the {things} without counting, and counted on the way home.
            Nothing to declare, said {B}, from inside {a thing}.
            Returned to sender: {container} of {stuff}, as {folk} have no use for it.
            Damaged by salt water: {few} {things}, and the feelings of {A}.
            The scales at the weigh house were kind to {B} today.
        """),
        "close": lines("""
            Passed and stamped by {W}, with the wrong stamp.
            Released {when}, on a promise.
            The rest of the hold was taken on trust, {why}.
        """),
    },
    "recipe": {
        "head": lines("""
            A Recipe for {food}, Set Down by {W}, {date}
            Kitchen Book of {W}, {date}
            How to Feed {folk}, {date}
        """),
        "open": lines("""
            {W} had this from a ship's cook, who had it from {a animal}, or so it tastes.
            For {food} as {W} makes it, begin the night before, and lock the door.
            This is the way {W} taught it to {A}, who got it wrong and improved it.
            Take {ware}, and if {A} has borrowed it, take it back.
        """),
        "body": lines("""
            Ask {B} to taste it, and watch the eyebrows.
            Pour it into {ware} from the height of {a animal}.
            The secret is {stuff}, but only {when}.
            When it rises like {A} at a meeting, take it from the fire.
            Grate in {a thing}; no, that page was stuck to one about {matter}; grate in {spice}.
            Add {spice} until {A} sneezes, then stop.
            Stir with a wooden spoon {when}, never against the tide.
            Some add {spice}, {why}; they are to be pitied.
            Let it stand under a cloth, away from the {animal}.
            Take {few} onions and chop them small, thinking of {matter}.
            If it smells of {stuff}, you have opened the wrong jar.
            Simmer for as long as {B} talks about {matter}, and then a little less.
            {folk!} like it with {spice}, but {folk} like anything.
            Beat {few} eggs with {a thing}, if no whisk is at hand.
            Serve it hot to friends, lukewarm to relations, and cold to {A}.
            A pinch of {spice} will hide most mistakes; a handful, as {A} found, is one.
            In {season} use butter; in a hurry use goose fat; in despair use {food}.
            My mother boiled it in {ware}, and lived to be very old and very thin.
            Press it overnight under {a thing} or {B}, whichever is heavier.
            What is left over can be fried, patched into a roof, or given to {folk}.
            Taste it; if {A} is near, taste it quickly.
        """),
        "close": lines("""
            It keeps for {few} days, or until {A} hears of it.
            Eat by the window, and say nothing about {matter}.
            Those who ask for seconds may be trusted with the washing up.
        """),
    },
    "obituary": {
        "head": lines("""
            In Memory of a Neighbor in {street}, {date}
            Obituaries, Collected by {W}, {date}
            Words Spoken at {inn}, {date}
        """),
        "open": lines("""
            They came from {street} and from the hills, {mood}, and {W} held the door.
            The town has lost its oldest member, who was famous for {good} and had no use for {good}.
            {W} spoke at the graveside in spite of {weather}, and kept it short, {why}.
            Those who knew the old miller of {street} will remember the laugh, and those who did not will have heard it.
        """),
        "body": lines("""
            Every year the deceased had sent {A} a card about {matter}, unsigned.
            The garden was full of {things}, and somehow they bloomed.
            {B} called it a life {verdict2}.
            Children will miss the {animal}, which knew how to bow.
            The best chair at {place} is to be left empty until {pastmonth}.
            The deceased is survived by {few} children, {a animal} and an unfinished {thing}.
            In younger years there was a voyage on {a boat}, and it was never short in the telling.
            {A} recalled how they had once carried {a thing} up {street} for no reason at all.
            The will leaves {few} {things} to {A}, and to {B} the bill for them.
            No one ever left that kitchen without {food}, or could.
            It was a long life, spent mostly in {street}, and wholly in the right.
            The {animal} walked behind the coffin and behaved better than {folk}.
            {B} wept openly, and {A} wept into {a thing}.
            There had been a quarrel about {matter}, but it was mended over {food}.
            Asked for the secret of old age, the deceased had always named {remedy}.
            {folk!} lowered their {things} as the procession passed {place}.
            A great reader, a poor dancer, and a terror at cards, as {A} put it.
            The hat will be kept at {inn}, on its own hook, between {a thing} and {a thing}.
            The last words were about {matter}, and were not entirely clear.
            There will be no flowers, by request, but {things} may be left at {place}.
            One debt of {sum} was forgiven at the grave, and one was not.
        """),
        "close": lines("""
            The bell was rung {n20} times, and once more for luck.
            Rest well, old friend; the {thing} is in good hands.
            Afterward there was {food}, and {A} told the story again.
        """),
    },
    "school": {
        "head": lines("""
            School Log, {date}
            Notes of the Schoolhouse, Kept by {W}, {date}
            Examination Day at the School, {date}
        """),
        "open": lines("""
            Roll called {when}: {W} at the desk, {n99} pupils, one visiting {animal}.
            {n99} children present, {few} absent {why}, one under the desk.
            {W} taught geography {when}, as far as the hills, where the map is torn.
            The stove smoked, the ink froze, and {W} let them sing instead.
        """),
        "body": lines("""
            Nature study: {a animal} was drawn by all, and objected to none of the likenesses.
            {A}'s nephew ate the chalk again, the {ordinal} piece this {season}.
            The globe has been lent to {folk}, who think it is a lamp.
            In history we reached the great flood, and the bucket under the leak overflowed.
            Two children were sent home for laughing at {matter}, and {B} for joining in.
            The older boys have built {a thing} behind {place}, and will not say what it is for.
            Asked to name three rivers, the second bench named {A}'s {few} cousins.
            Arithmetic: if {A} has {few} {things} and {B} takes one, how long until the constable comes?
            A child from {street} brought {a animal}, which knew its letters.
            {B} visited and examined the class on {good}; the class examined {B}.
            Confiscated: {few} {things}, {a thing}, and a poem about {A}, unsigned.
            The school play is to be about {matter}, with real {things}.
            {folk!} came to speak about their work, and the children asked what they were paid.
            Composition set for tomorrow: "Why I am sorry about the {thing}".
            Handwriting is improving in all but {few}, who are left to {A} and {a thing}.
            No lessons {when}, as the roof was needed elsewhere.
            The best essay held that {a animal} would make a fair alderman, and gave reasons.
            Milk was spilled, blamed on {weather}, and mopped up with the map.
            The {few} small ones learned to tell the tide from the clock and the clock from {A}.
            A prize for {good} could not be awarded, {why}.
            Spelling test: nobody could spell "barometer", and {B} could not say it.
        """),
        "close": lines("""
            Dismissed early {why}, and nobody objected.
            Swept out chalk, crumbs and {a thing}.
            Tomorrow, fractions, and may we all be spared; {W}.
        """),
    },
    "inn": {
        "head": lines("""
            The Complaints Book of {inn}, {date}
            Guest Book of {inn}, {date}
            The Slate Behind the Bar, Copied {date}
        """),
        "open": lines("""
            Written large across the page, and signed by {W}: never again the {food}.
            A guest writes: the bed was short, the night was long, and {W} sang.
            {W} took over the bar {when}, and the book records what came of it.
            Full house, {weather}, and {food} until it ran out.
        """),
        "body": lines("""
            The cook wishes it known that the {food} was meant to be blue.
            A lady left {a thing} in her room and says she will come back when it has calmed down.
            Somebody in the front room snores in {few} languages.
            {B} danced on the table {when}, {why}.
            Breakfast: {food}, {when}; apology: none.
            The gentleman in the back room asks that {a animal} not be sent up to wake him again.
            Asked for a room with a view, and was given {a thing} to stand on.
            The soup was {verdict}, and came {when}.
            {A} owes for {few} mugs and a window; {B} owes for laughing.
            Two travelers quarreled over {matter}, and left as friends, without paying.
            A guest complains that {folk} practice overhead; reply of the house: so do we all.
            {B} won {a thing} at cards, and lost it again before the ferry.
            The chimney was swept with {a animal}, as an experiment.
            The pillow in the end room has been found to contain {stuff}.
            {folk!} held their yearly dinner here; the {things} are being mended.
            {A} was carried home in {a thing}, {mood}.
            A bard offered songs for supper, and was given supper not to sing.
            Reply of the house: the draft from {place} is historic.
            One traveler left {few} {things} as a pledge, and the pledge has begun to smell.
            Whoever carved {A}'s profile into the long table is asked to finish the ears.
            The beer is thin, writes a guest from {street}, but so is the ceiling, and so is {A}.
        """),
        "close": lines("""
            Last orders {when}; {A} asked for one more, as a matter of principle.
            Chairs up, lamps out, {animal} in.
            Reply of the house to all of the above: noted; {W}.
        """),
    },
}
