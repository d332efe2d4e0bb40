#pragma once
/* One exchange with an origin, over whichever HTTP the connection speaks: what a call needs of both
 * client codecs. Embedded; zeroed is "not begun". Loop thread. */
#include "http/h1_client.h"
#include "http/h2_client.h"

enum origin_protocol { ORIGIN_TALK_NONE, ORIGIN_TALK_H1, ORIGIN_TALK_H2 };

struct origin_talk {
    enum origin_protocol protocol;
    union {
        struct h1_client h1;
        struct h2_client h2;
    };
};

int origin_talk_run(struct origin_talk *t) __attribute__((warn_unused_result));
void origin_talk_done(struct origin_talk *t);
static inline bool origin_talk_is_on(const struct origin_talk *t)
{
    return t->protocol != ORIGIN_TALK_NONE;
}
/* Some byte of a response has come. */
bool origin_talk_got_any(const struct origin_talk *t);
/* The whole request is out: the origin's turn. */
bool origin_talk_has_sent(const struct origin_talk *t);
/* Nothing of a response came, and nothing of the request's body is lost. */
bool origin_talk_is_fresh(const struct origin_talk *t);
/* Why it failed, static, or NULL. */
const char *origin_talk_text(const struct origin_talk *t);
/* The origin says that it did nothing with the request: whatever it is, it may be sent again. */
bool origin_talk_was_refused(const struct origin_talk *t);
/* The origin wants this request over HTTP/1.1 (RFC 9113 §7). */
bool origin_talk_wants_h1(const struct origin_talk *t);
