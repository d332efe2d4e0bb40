#pragma once
/* What the two files of a connection share: connection.c acts and has the table of states,
 * connection_watch.c looks at what happened. */
#include "base/log.h"
#include "connector/connection.h"
#include "connector/control_client.h"
#include "connector/edge_lookup.h"
#include "connector/leaver.h"

#define CONNECTION_UNREGISTER_NSEC                                                                 \
    (2 * NSEC_PER_SEC) /* the edge is told; whether it answers does not matter for long */
#define CONNECTION_PROBE_NSEC_MAX (600 * NSEC_PER_SEC)

/* What happens to a connection. */
#define EVENTS(X) X(START) X(UP) X(ACCEPTED) X(MOVED) X(LOST) X(DRAIN) X(TIMER)
enum event {
#define X(name) EV_##name,
    EVENTS(X)
#undef X
        EV_COUNT
};

/* In the order of their rows in metrics.def, for operations, failures and times alike. */
enum call { CALL_REGISTER, CALL_UNREGISTER, CALL_REPORT, CALLS };

struct connection {
    struct task task;
    struct deadline deadline;
    struct loop *loop;
    struct connection_conf conf;
    enum connection_state state;
    struct race race;            /* while it dials */
    struct transport *transport; /* that serves */
    struct transport *probe;     /* QUIC, tried while HTTP/2 serves */
    struct deadline probe_at;
    nsec probe_wait, served_at; /* served_at: 0 = it does not */
    nsec lost_at;               /* since when; 0 = never served */
    unsigned losses;            /* of QUIC that did not live long, in a row */
    bool is_returning, has_fallen_back;
    struct leaver *leaver; /* HTTP/2, since QUIC is back */
    struct control_client control;
    unsigned attempts; /* failures in a row */
    size_t edge_at;    /* which of conf.edges; taken */
    struct addr edge;  /* that was dialled there; size 0 = none is known */
    int err;           /* of the last failure */
    char why[256];
    bool was_open; /* the last dial succeeded */
    bool has_dialled, is_looking_up;
    struct edge_lookup *lookup; /* of the edge's name, before a dial */
    bool is_drain_asked, is_unregistering, is_lingering;
    bool is_report_due;
    char *told; /* the local configuration, when it is ours */
    nsec drain_end;
    enum parting parting; /* behind that */
    nsec asked_at[CALLS]; /* 0: not under way */
    struct addr local;    /* the port stays the same over all dials */
    struct reaper reaper;
};

/* ---- connection.c ---- */

/* Goes by the table of states; the only function that writes c->state. */
void connection_on(struct connection *c, enum event event);
/* Notes why the next EV_LOST came. */
void connection_fail(struct connection *c, int err, const char *why);
void connection_count(struct connection *c, enum serve_metric what);
void connection_let_go(struct connection *c, struct transport **t);
/* A call to the edge begins; was answered, or never will be. */
void connection_call_begins(struct connection *c, enum call call);
void connection_call_ends(struct connection *c, enum call call, bool has_failed);
struct addr connection_edge(const struct connection *c);
struct transport_dial connection_dial_of(struct connection *c, const struct addr *bind);
void connection_dial_address(struct connection *c);
void connection_plan_probe(struct connection *c);
void connection_report(struct connection *c);

/* ---- connection_watch.c ---- */

void connection_run(struct task *t);
