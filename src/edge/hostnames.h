#pragma once
/* What is counted for each hostname. A series is named after a route ("blog.example.com",
 * "*.example.com"), never after what a visitor asks for, and there are at most `max` names; all
 * else is counted as "other".
 *
 * Each worker has a view with its own cells, which it alone writes, without a lock. The lock is
 * taken when a worker meets a name for the first time, when names go, and by a scrape. */
#include "base/list.h"
#include "base/map.h"
#include "base/metric.h"
#include "model/snapshot.h"

#define HOSTNAME_CLASSES 6 /* 1xx … 5xx, and none: the visitor left, or was cut off */

struct hostname_series {
    struct map_node node; /* in the view, by name */
    struct list in_name;
    struct hostname_series *counted; /* itself, or the view's `other` */
    _Atomic uint64_t requests[HOSTNAME_CLASSES], bytes_up, bytes_down, in_flight;
    struct metric_hist latency; /* from the request's head to the head of its answer */
    char name[];
};

struct hostnames;
/* Aborts when memory is short: made once at start. */
struct hostnames *hostnames_new(size_t max);
/* Behind every view. NULL is accepted. */
void hostnames_free(struct hostnames *h);
/* Appends the families. Any thread. */
void hostnames_page(struct hostnames *h, struct strb *to);

/* One worker's. */
struct hostname_view;
struct hostname_view *hostname_view_new(struct hostnames *h);
void hostname_view_free(struct hostname_view *v); /* NULL is accepted */
/* The series of a route; that of "other" for the empty name, past the bound, and when memory is
 * short. Stays while an exchange is in flight on it. */
struct hostname_series *hostname_view_get(struct hostname_view *v, struct slice route);
/* Makes room, when there is none, by names that are no longer routes. After each new snapshot. */
void hostname_view_prune(struct hostname_view *v, const struct snapshot *s);
