#include "connector/origin_talk.h"

int origin_talk_run(struct origin_talk *t)
{
    return t->protocol == ORIGIN_TALK_H2 ? h2_client_run(&t->h2) : h1_client_run(&t->h1);
}

void origin_talk_done(struct origin_talk *t)
{
    if (t->protocol == ORIGIN_TALK_H2)
        h2_client_done(&t->h2);
    else if (t->protocol == ORIGIN_TALK_H1)
        h1_client_done(&t->h1);
    t->protocol = ORIGIN_TALK_NONE;
}

bool origin_talk_got_any(const struct origin_talk *t)
{
    return t->protocol == ORIGIN_TALK_H2 ? t->h2.got_any : t->h1.got_any;
}

bool origin_talk_has_sent(const struct origin_talk *t)
{
    return t->protocol == ORIGIN_TALK_H2 ? t->h2.is_up_over : h1_client_has_sent(&t->h1);
}

bool origin_talk_is_fresh(const struct origin_talk *t)
{
    return t->protocol == ORIGIN_TALK_H2 ? h2_client_is_fresh(&t->h2) : h1_client_is_fresh(&t->h1);
}

const char *origin_talk_text(const struct origin_talk *t)
{
    return t->protocol == ORIGIN_TALK_H2 ? t->h2.text : t->h1.text;
}

bool origin_talk_was_refused(const struct origin_talk *t)
{
    return t->protocol == ORIGIN_TALK_H2 && t->h2.was_refused;
}

bool origin_talk_wants_h1(const struct origin_talk *t)
{
    return t->protocol == ORIGIN_TALK_H2 && t->h2.s != NULL &&
           h2_stream_code(t->h2.s) == H2_HTTP_1_1_REQUIRED;
}
