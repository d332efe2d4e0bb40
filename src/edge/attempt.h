#pragma once
/* One attempt to carry an exchange over a link, over whichever transport the link has, from this
 * worker or through the one that owns it: what a right side needs of both client codecs. Embedded;
 * zeroed is "not begun". Loop thread. */
#include "tunnel/client.h"
#include "tunnel/h2_client.h"

struct edge_worker;
struct link;

enum attempt_kind { ATTEMPT_NONE, ATTEMPT_STREAM, ATTEMPT_H2 };

struct attempt {
    enum attempt_kind kind;
    struct link *link; /* counted; NULL = none is under way */
    bool is_counted;   /* in link->in_flight */
    bool is_lent;      /* counted in link->lent */
    union {
        struct tunnel_client stream;
        struct h2_client h2;
    };
};

#define ATTEMPT_TOO_LARGE "One field is larger than a connection over HTTP/2 can carry: 64 KiB."

/* Starts on this link. 0, or why it cannot take the exchange (ERR_LIMIT: its head does not fit):
 * then it was as if never begun. */
int attempt_start(struct attempt *a, struct edge_worker *w, struct link *l, struct exchange *ex,
                  struct task *task) __attribute__((warn_unused_result));
/* The same for another worker, on a link of our own: the attempt of that one is counted. */
int attempt_carry(struct attempt *a, struct edge_worker *w, struct link *l, struct exchange *ex,
                  struct task *task) __attribute__((warn_unused_result));
/* It is for the edge behind us, and will end by itself. */
void attempt_note_lent(struct attempt *a);
/* As tunnel_client_run: ERR_AGAIN, 0, ERR_ORIGIN, or another error. */
int attempt_run(struct attempt *a) __attribute__((warn_unused_result));
/* Whether nothing of an answer has come. */
bool attempt_is_unanswered(const struct attempt *a);
/* Whether some of the request's body went with it. */
bool attempt_took_body(const struct attempt *a);
/* Whether the head of the request has left: over HTTP/2, which queues it, from the start. */
bool attempt_has_sent_head(const struct attempt *a);
/* Of ERR_ORIGIN: the connector's text, without the reference's preface, and its failure. */
const char *attempt_cause(const struct attempt *a);
enum failure attempt_failure(const struct attempt *a);
/* Lets go. Safe on a zeroed one. */
void attempt_end(struct attempt *a);
