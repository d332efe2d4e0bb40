#pragma once
/* Why an exchange failed, in one table (http/failure.def): what a visitor is told, what the log and
 * the metrics say, and what our own connector tells our own edge. Static storage; any thread. */
#include "base/slice.h"

enum hop { HOP_NONE, HOP_VISITOR, HOP_EDGE, HOP_TUNNEL, HOP_CONNECTOR, HOP_ORIGIN };
const char *hop_name(enum hop hop);
/* The same for tables of metrics. */
#define HOP_TEXT_NONE      "none"
#define HOP_TEXT_VISITOR   "visitor"
#define HOP_TEXT_EDGE      "edge"
#define HOP_TEXT_TUNNEL    "tunnel"
#define HOP_TEXT_CONNECTOR "connector"
#define HOP_TEXT_ORIGIN    "origin"

enum failure {
    FAILURE_NONE,
#define FAILURE(id, ...) FAILURE_##id,
#include "http/failure.def"
#undef FAILURE
    FAILURE_COUNT
};

struct failure_row {
    const char *word;      /* in logs and metrics: "origin_refused"; "" for FAILURE_NONE */
    unsigned status, code; /* of the answer; shown on the page */
    enum hop hop;
    const char *title, *next;
};
const struct failure_row *failure_row(enum failure f);
static inline const char *failure_word(enum failure f)
{
    return failure_row(f)->word;
}

/* By its word; FAILURE_NONE when there is none. */
enum failure failure_of_word(struct slice word);
/* Of an error that nobody said more about. */
enum failure failure_of_err(int err, enum hop hop);
/* Of the text by which a connector that only has texts (cloudflared) says that an origin failed;
 * FAILURE_ORIGIN when it says nothing that is known. */
enum failure failure_of_text(struct slice text);
