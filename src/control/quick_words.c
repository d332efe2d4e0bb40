/* Words for the hostnames of quick tunnels: three of 256, easy to read out and to type. */
#include <stdio.h>

#include "control/api_int.h"
#include "crypto/random.h"

static const char *const WORDS[256] = {
    "amber",    "anchor",   "apple",   "april",    "arbor",    "arrow",   "aspen",   "atlas",
    "autumn",   "azure",    "badge",   "bamboo",   "banner",   "barley",  "basil",   "beacon",
    "berry",    "birch",    "blossom", "bluff",    "bonnet",   "border",  "bramble", "brass",
    "breeze",   "bridge",   "bright",  "brook",    "bronze",   "butter",  "cabin",   "cactus",
    "candle",   "canoe",    "canyon",  "carbon",   "cargo",    "castle",  "cedar",   "cello",
    "cherry",   "chime",    "cinder",  "citrus",   "clay",     "cliff",   "clover",  "cobalt",
    "comet",    "copper",   "coral",   "cotton",   "cove",     "crane",   "crater",  "cricket",
    "crystal",  "curlew",   "cypress", "dahlia",   "daisy",    "dapple",  "dawn",    "delta",
    "desert",   "dove",     "drift",   "dune",     "eagle",    "early",   "earth",   "easel",
    "echo",     "elder",    "elm",     "ember",    "emerald",  "falcon",  "feather", "fennel",
    "fern",     "field",    "finch",   "fjord",    "flame",    "flint",   "flora",   "forest",
    "fossil",   "fountain", "fox",     "garden",   "garnet",   "gentle",  "ginger",  "glacier",
    "glade",    "glen",     "glider",  "golden",   "granite",  "grape",   "grass",   "grove",
    "gull",     "hammock",  "harbor",  "harvest",  "hazel",    "heather", "heron",   "hickory",
    "hollow",   "honey",    "horizon", "ibis",     "indigo",   "iris",    "island",  "ivory",
    "ivy",      "jade",     "jasmine", "jasper",   "juniper",  "kayak",   "kestrel", "kettle",
    "kite",     "lagoon",   "lake",    "lantern",  "larch",    "lark",    "laurel",  "lavender",
    "leaf",     "lemon",    "lichen",  "lilac",    "lily",     "linden",  "linen",   "lotus",
    "lunar",    "lupin",    "lynx",    "magnet",   "maple",    "marble",  "marsh",   "meadow",
    "mellow",   "melon",    "mesa",    "mica",     "midnight", "minnow",  "mint",    "mist",
    "moon",     "morning",  "moss",    "mountain", "mulberry", "myrtle",  "nectar",  "nettle",
    "nimbus",   "noble",    "north",   "nutmeg",   "oak",      "oasis",   "ocean",   "olive",
    "onyx",     "opal",     "orbit",   "orchard",  "orchid",   "osprey",  "otter",   "oxbow",
    "paddle",   "palm",     "panda",   "paper",    "parsley",  "peach",   "pearl",   "pebble",
    "pepper",   "petal",    "pigeon",  "pine",     "plain",    "planet",  "plum",    "pollen",
    "pond",     "poplar",   "poppy",   "prairie",  "quail",    "quartz",  "quiet",   "quill",
    "rain",     "rapid",    "raven",   "reed",     "ribbon",   "ridge",   "river",   "robin",
    "rocket",   "rose",     "ruby",    "rustic",   "saffron",  "sage",    "salmon",  "sand",
    "sapphire", "sierra",   "silver",  "sky",      "slate",    "snow",    "solar",   "sorrel",
    "sparrow",  "spring",   "spruce",  "star",     "stone",    "storm",   "summer",  "sun",
    "swallow",  "sycamore", "teal",    "tern",     "thistle",  "thyme",   "tiger",   "timber",
    "topaz",    "trail",    "trout",   "tulip",    "tundra",   "valley",  "velvet",  "violet",
};

void quick_words(struct call *c, char *ret, size_t size)
{
    uint8_t pick[3];
    (void)c;
    random_bytes(pick, sizeof pick);
    (void)snprintf(ret, size, "%s-%s-%s", WORDS[pick[0]], WORDS[pick[1]], WORDS[pick[2]]);
}
