#pragma once
/* What the two files of a visitor's connection share: h1_server.c has its life, heads and times,
 * h1_exchange.c moves one exchange. */
#include "http/h1_body.h"
#include "http/h1_server.h"

enum conn_state {
    CONN_IDLE, /* no byte of a request yet */
    CONN_HEAD, /* some */
    CONN_EXCHANGE,
    CONN_LINGER, /* finished; what still arrives is dropped */
    CONN_OVER,
};

struct h1_conn {
    struct list node;
    struct list waiting; /* among those without a request: CONN_IDLE and CONN_HEAD */
    struct h1_group *group;
    struct task task;
    struct deadline deadline;
    struct stream *s;
    struct addr peer;
    const char *scheme;
    struct buf in, out;
    enum conn_state state;
    struct http1_scan scan; /* how far the search for the head's end went */
    struct exchange *ex;
    struct h1_reader reader; /* the request's body */
    struct h1_writer writer; /* the response's body */
    bool head_sent, continue_sent;
    bool keeps_alive; /* after this exchange */
    bool in_over;     /* the visitor finished its direction */
    bool is_1_0;
    size_t lingered;
    uint64_t received; /* bytes of bodies that came from the visitor, so far */
    uint64_t given;    /* bytes that the stream to the visitor took, so far */
    uint64_t moved;    /* bytes that had moved when the deadline was set */
    nsec patience;     /* that the deadline was set with */
    bool was_owed;     /* bytes waited for the visitor then */
    uint64_t requests;
    struct reaper reaper;
};

/* Moves bytes of the exchange both ways as far as they go. 0: the answer is out; ERR_AGAIN; others
 * end the connection. */
int h1_exchange_move(struct h1_conn *c);
/* The connection carries bytes of another protocol now. */
bool h1_exchange_is_upgraded(const struct h1_conn *c);
