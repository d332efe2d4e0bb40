#pragma once
/* Answers that we write ourselves: a short page that says what happened, where, and what to do, as
 * HTML, JSON or plain text by the request's Accept. Loop thread. */
#include "http/exchange.h"

struct page {
    unsigned status;
    unsigned code;     /* our error code, shown and logged; 0 = none */
    const char *title; /* what happened, a short sentence without a full stop */
    const char *text;  /* one or two sentences more, or NULL */
    const char *next;  /* what to do, or NULL */
    enum hop hop;      /* which hop failed; HOP_NONE = say nothing of it */
};

/* Gives the response and its whole body; the exchange must have none yet. Also to HEAD (no body).
 * ERR_NOMEM. */
int page_respond(struct exchange *ex, const struct page *page) __attribute__((warn_unused_result));
/* A response with that body, of a media type. */
int page_respond_bytes(struct exchange *ex, unsigned status, const char *media_type,
                       struct slice body) __attribute__((warn_unused_result));
/* The page for a failure; `text` says more of it, or is NULL. */
void page_for_failure(enum failure failure, const char *text, struct page *ret);
