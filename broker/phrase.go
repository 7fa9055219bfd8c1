package broker

import (
	"crypto/sha256"
	"strings"
)

// phraseWords is how many words a phrase has: 8 bits each.
const phraseWords = 4

// Phrase is four words from the digest of the request as it was submitted. They stand on the approval page and in
// the agent's terminal, so that a human who looks at both sees that they are about the same request.
// Narrowing does not change them. 32 bits tell requests apart; they are no secret and prove nothing.
func (r Request) Phrase() string {
	r.Granted, r.GrantedTTL = nil, 0
	return phrase(r.Digest())
}

// Phrase is four words from what an operator signs to admit a newcomer, to be compared by voice.
func (i Invite) Phrase() string { return phrase(i.Digest()) }

func phrase(of string) string {
	sum := sha256.Sum256([]byte("hourkey/phrase/1\x00" + of))
	list := words()
	picked := make([]string, phraseWords)
	for i := range picked {
		picked[i] = list[sum[i]]
	}
	return strings.Join(picked, "-")
}

// words are 256 common words that are neither mistaken for one another on a screen nor on the telephone.
func words() [256]string {
	return [256]string{
		"acid", "acorn", "album", "alder", "amber", "anchor", "apple", "apron",
		"arch", "arrow", "atlas", "autumn", "bacon", "badge", "bagel", "bamboo",
		"banjo", "barley", "barrel", "basil", "basin", "basket", "beacon", "beaver",
		"bell", "berry", "bicycle", "birch", "bison", "blanket", "blossom", "boat",
		"bonnet", "boot", "bottle", "bowl", "branch", "bread", "brick", "bridge",
		"bronze", "broom", "brush", "bucket", "buffalo", "butter", "button", "cabin",
		"cable", "cactus", "camel", "canal", "candle", "canoe", "canvas", "carbon",
		"cargo", "carpet", "carrot", "castle", "cedar", "cello", "chalk", "cherry",
		"chess", "chime", "cider", "circus", "citrus", "clay", "cliff", "clock",
		"cloud", "clover", "cobalt", "coconut", "coffee", "comet", "compass", "copper",
		"coral", "cotton", "crane", "crater", "crown", "crystal", "curtain", "daisy",
		"desert", "diamond", "dinner", "dolphin", "donkey", "dragon", "drum", "eagle",
		"easel", "echo", "eclipse", "elbow", "elm", "ember", "fabric", "falcon",
		"feather", "fern", "ferry", "fiddle", "field", "finch", "flag", "flame",
		"flute", "forest", "fossil", "fountain", "fox", "galaxy", "garden", "garlic",
		"gate", "ginger", "giraffe", "glacier", "glove", "goose", "grape", "gravel",
		"guitar", "hammer", "harbor", "harvest", "hazel", "hedge", "helmet", "heron",
		"hill", "honey", "horizon", "hotel", "igloo", "indigo", "island", "ivory",
		"jacket", "jaguar", "jasmine", "jelly", "jigsaw", "jungle", "juniper", "kayak",
		"kettle", "kiosk", "kitten", "koala", "ladder", "lagoon", "lantern", "laurel",
		"lava", "lemon", "lentil", "lilac", "lime", "linen", "lion", "lizard",
		"lobster", "lotus", "magnet", "mango", "maple", "marble", "meadow", "melon",
		"meteor", "mint", "mirror", "monkey", "moon", "moss", "mountain", "mouse",
		"museum", "mustard", "needle", "nest", "nickel", "noodle", "nutmeg", "oak",
		"oasis", "ocean", "olive", "onion", "opal", "orange", "orchid", "otter",
		"oven", "owl", "oyster", "paddle", "palace", "panda", "parrot", "peach",
		"pebble", "pelican", "pencil", "pepper", "piano", "pillow", "pine", "planet",
		"plum", "pocket", "pond", "poppy", "potato", "prairie", "prism", "puzzle",
		"quartz", "quilt", "rabbit", "radio", "radish", "raven", "reef", "ribbon",
		"river", "robin", "rocket", "rose", "ruby", "saddle", "saffron", "salad",
		"salmon", "sand", "satin", "shadow", "shell", "silk", "silver", "slate",
		"snow", "spice", "spring", "squash", "stable", "star", "stone", "storm",
	}
}
