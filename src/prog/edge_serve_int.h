#pragma once
/* What the files of `adit-edge serve` share: one run of it. The program's thread. */
#include "confine/confine.h"
#include "control/datadir.h"
#include "prog/edge_control.h"
#include "prog/edge_serve.h"
#include "prog/edge_upgrade.h"

/* Everything of one run. */
struct server {
    const struct edge_options *o;
    struct arena arena;
    struct loop *loop;
    struct datadir dir;
    struct edge_control control;
    struct edge *edge;
    struct confine confine;
    struct access_log_conf access_log;
    struct edge_sockets sockets; /* that were handed over by whoever started us */
    struct takeover_heir heir;   /* of the edge before us */
    struct takeover_giver giver; /* to the next one */
    int notify_fd;
    struct edge_addrs addrs;
    struct addr local;
    struct watch *signals;
    struct task task;
    struct mail drained;
    bool is_serving, is_draining;
    bool is_succeeded; /* another edge serves */
    bool is_hurried;
    const char *domains[API_DOMAINS_MAX + 1]; /* NULL-terminated */
};

/* edge_serve.c */
int server_write_addresses(struct server *s, struct fault *fault);

/* edge_succession.c: what has to do with the edges before and behind this one. */
/* From the edge that runs on the data directory, where there is one and it is to be upgraded. */
int server_inherit(struct server *s, struct fault *fault);
/* Opens it, with the lock that was inherited. `names`: datadir_open. */
int server_open_directory(struct server *s, const char *const *names, struct fault *fault);
/* Everything is built: from here on this edge serves. */
int server_begin(struct server *s, struct fault *fault);
/* What an edge that drains is to mail: it ends the run. */
struct mail *server_drained(struct server *s);
