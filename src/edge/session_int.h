#pragma once
/* What the two files of a session share: session.c has its life, its link and its health,
 * session_calls.c what the connector says over the control stream. */
#include "edge/edge_int.h"
#include "edge/leaving.h"
#include "tunnel/rpc.h"

enum session_state {
    SESSION_NEW,
    SESSION_ENROLLING,
    SESSION_SERVING,
    SESSION_REFUSED,
    SESSION_OVER
};

struct session {
    struct list node;
    struct map_node by_id;
    struct task task;
    struct deadline deadline;
    struct deadline health; /* the next look, while there is something to watch */
    bool is_watched;        /* that look is soon */
    uint64_t written;       /* bytes, at the last one */
    struct edge_worker *worker;
    struct carrier carrier;
    struct stream *control;
    struct rpc *rpc;
    struct buf in, out;
    enum session_state state;
    struct link *link;
    struct link_gauge *gauge; /* counted: the control plane reads it */
    uint64_t opened;          /* streams, by us */
    nsec opened_at;           /* the last of them */
    uint32_t register_id;     /* of the call that waits for its answer */
    bool is_told;             /* the control plane knows of it */
    uint32_t report_id;       /* of updateLocalConfiguration, while that is on its way there */
    bool is_reporting;
    bool is_stand_in;       /* to the edge before us */
    struct leaving leaving; /* by us */
    struct link_news *news; /* laid by: tell_workers cannot fail */
    struct reaper reaper;
};

/* ---- session.c ---- */

void session_end(struct session *s, const char *why);
/* Something is sent: its answer is watched for. */
void session_watch(struct session *s);
/* Memory for the news of this link, ahead of the need: 0 or ERR_NOMEM. */
int session_lay_by_news(struct session *s);
/* What became of the link, to all workers. */
void session_tell_workers(struct session *s, enum link_change change);

/* ---- session_calls.c ---- */

/* Reads and writes the control stream. Its end is not the connection's; but without memory for it
 * nobody would be registered any more, and the connector wait for nothing. */
void session_run_control(struct session *s);
