#pragma once
/* Names that were meant: for hints. Pure. */
#include "base/slice.h"

#define SPELLING_FAR 3 /* from here on it is another word */

/* How many letters must be put in, taken out or changed; case does not count. Long texts are far
 * from everything. */
unsigned edit_distance(struct slice a, struct slice b);
