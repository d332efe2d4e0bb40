#pragma once
/* One HTTP request and its response: the unit that a left side (a server codec: a visitor's
 * connection, a tunnel stream at the connector) and a right side (a client codec: a tunnel stream
 * at the edge, an origin's connection, an API handler, a page) share. Any left pairs with any
 * right. Lives on one loop, in its own arena.
 *
 * Neither side calls the other. The left makes the exchange with its request; a router attaches a
 * right side; from then on each fills its slots and wakes the other's task:
 *
 *     left                                 right
 *     body_put(&ex->up, ...)           ->  buf_move(..., &ex->up.held), exchange_wake_left
 *     body_end(&ex->up)
 *     sends what is there              <-  exchange_interim, exchange_respond
 *     takes, exchange_wake_right       <-  body_put(&ex->down, ...), body_end(&ex->down)
 *     exchange_fail                        exchange_fail        either; the first verdict stays
 *     exchange_leave(ex, EX_LEFT)          exchange_leave(ex, EX_RIGHT)   freed when both have left
 *
 * A body's producer puts only what fits (body_room): a full body is back-pressure. An upgraded
 * exchange (101, or 2xx to a CONNECT) is from then on just its two bodies. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "http/failure.h"
#include "http/fields.h"
#include "http/parting.h"
#include "net/loop.h"

enum framing {
    FRAMING_NONE,   /* no body */
    FRAMING_LENGTH, /* Content-Length bytes */
    FRAMING_STREAM, /* until the end of the stream: chunked on HTTP/1.1 */
};

enum upgrade {
    UPGRADE_NONE,
    UPGRADE_WEBSOCKET,
    UPGRADE_CONNECT, /* method CONNECT, or tunnel type tcp: dest is host:port */
};

struct request {
    struct slice method, scheme; /* "GET", "http" or "https" */
    struct slice host;           /* Host or authority as it came, with port if any */
    struct slice target;         /* path and query as they came, escapes kept; "*" for OPTIONS */
    struct fields fields;        /* without Host, Content-Length and Transfer-Encoding */
    enum framing framing;
    bool has_length; /* Content-Length was given, also when it is 0 */
    uint64_t length; /* of FRAMING_LENGTH, bytes */
    enum upgrade upgrade;
    bool expects_continue; /* Expect: 100-continue; the field stays in `fields` */
};

struct response {
    unsigned status;
    struct fields fields; /* without Content-Length and Transfer-Encoding */
    enum framing framing; /* FRAMING_NONE also for HEAD, 1xx, 204, 304 */
    bool has_length; /* Content-Length was given (also for HEAD and 304, where no body follows) */
    uint64_t length;
    struct response *next; /* queue of interim responses */
};

/* A bounded pipe of counted chunks between the two sides. */
struct body {
    struct buf held;
    uint64_t total; /* bytes put so far */
    bool ended;     /* nothing more will be put */
};

/* Why an exchange ended otherwise than by a complete response. */
struct verdict {
    int err; /* enum err; 0 = none, or an answer of our own was given in the place of one */
    enum hop hop;
    enum failure failure; /* what it was: page, log and metric */
    const char *text;     /* static or in the arena; what happened, for a human; may be NULL */
};

struct phases {
    nsec received, routed, linked, sent, first_byte, done; /* 0 = not reached */
};

#define EXCHANGE_ID_BYTES 17 /* NUL included */

enum side { EX_LEFT, EX_RIGHT };

struct exchange {
    struct arena arena;
    struct loop *loop;
    struct request request;   /* complete before a right side is attached; not changed afterwards */
    unsigned interims;        /* that there were, so far */
    struct response *interim; /* 1xx other than 101 waiting for the left, oldest first */
    struct response *response;                  /* the final head, once (101 counts as final) */
    struct body up, down;                       /* towards the origin, towards the visitor */
    struct fields *up_trailers, *down_trailers; /* or NULL; set before body_end */
    struct verdict verdict;
    struct task *left, *right; /* NULL before attaching and after leaving */
    bool
        wants_body; /* right side: it takes the body; a left that holds back (Expect) answers 100 */
    bool is_upgraded;                     /* 101 was given, or 2xx to a CONNECT */
    enum parting parting;                 /* set by exchange_part */
    struct frames frames_up, frames_down; /* of a websocket (http/parting.h) */
    struct phases at;
    char id[EXCHANGE_ID_BYTES]; /* request id: 16 hexadecimal digits; one for the whole way */
    uint64_t bytes_up, bytes_down;
    int rule, connection; /* at the connector, for logs: ingress rule and connection; -1 = none */
    unsigned extensions;  /* what the tunnel's other end can (tunnel/extension.h); for its codecs */
    void *user;           /* the router's: what it knows of this exchange */
    unsigned sides;       /* who is still there; for exchange.c */
    struct reaper reaper;
};

/* An exchange with an empty request; `left` is the owner. NULL when memory is short. */
struct exchange *exchange_new(struct loop *loop, struct task *left);

/* Takes the request id from a Cf-Ray value ("<16 hex digits>-COLO"), when it is one: the id that an
 * edge gave. */
void exchange_take_ray(struct exchange *ex, struct slice ray);

/* Attaches a right side: it will leave too. */
void exchange_attach(struct exchange *ex, struct task *right);
/* The right side gives its place to another, which may be attached now; it has done nothing to the
 * bodies. */
void exchange_detach(struct exchange *ex);

static inline void exchange_wake_left(struct exchange *ex)
{
    task_wake(ex->left);
}

static inline void exchange_wake_right(struct exchange *ex)
{
    task_wake(ex->right);
}

/* Room in a body, bytes. */
static inline size_t body_room(const struct body *b)
{
    return buf_room(&b->held);
}

/* Moves what fits of *from into the body and counts it. Returns bytes moved; the caller wakes the
 * other side. */
size_t body_put(struct body *b, struct buf *from, size_t max);
/* Behind a body_put of nothing: whether memory was short, so that nobody would wake us. */
static inline bool body_is_stuck(const struct body *b, const struct buf *from)
{
    return buf_is_stuck(&b->held, from);
}
/* Nothing follows. */
static inline void body_end(struct body *b)
{
    b->ended = true;
}
/* Everything was put and taken. */
static inline bool body_is_over(const struct body *b)
{
    return b->ended && buf_is_empty(&b->held);
}

/* A response head in the exchange's arena with its fields initialised; NULL when memory is short.
 */
struct response *response_new(struct exchange *ex, unsigned status);
/* Right side: queues a 1xx (ERR_LIMIT past INTERIM_COUNT_MAX) and wakes the left. */
int exchange_interim(struct exchange *ex, struct response *r) __attribute__((warn_unused_result));
/* Right side: gives the final head and wakes the left. Once. */
void exchange_respond(struct exchange *ex, struct response *r);

/* Either side: ends the exchange. The first verdict stays; both sides are woken. `text` is static
 * or in the arena. */
void exchange_fail(struct exchange *ex, int err, enum hop hop, const char *text);
/* Likewise, where more is known than the error; the hop is the failure's. */
void exchange_fail_as(struct exchange *ex, enum failure failure, int err, const char *text);
static inline bool exchange_has_failed(const struct exchange *ex)
{
    return ex->verdict.err != 0;
}

/* Left side: the program stops, and this shall end in order, if it is something that can: a
 * websocket, an event stream. The right side does it when it can. True when it was asked. */
bool exchange_part(struct exchange *ex, enum parting parting);

/* One side is through and will not touch the exchange again. When the other is still there and the
 * exchange is not complete, it learns of it by a verdict (ERR_CANCELED from the left, ERR_CUT from
 * the right). Freed, later, when both have left. */
void exchange_leave(struct exchange *ex, enum side side);
bool exchange_has_left(const struct exchange *ex, enum side side);
