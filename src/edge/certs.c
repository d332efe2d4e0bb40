#include "edge/certs.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "codec/http1_names.h"

#define CERT_DAYS  30
#define RENEW_USEC ((int64_t)15 * 86400 * 1000000) /* long before its end: clocks differ */

struct certs {
    const struct x509_pair *ca;
    struct map by_name;
    struct list recent; /* last asked for first */
    size_t count;
};

struct entry {
    struct map_node by_name;
    struct list recent;
    struct tls_cert *cert;
    int64_t issued_us;
    char name[HOSTNAME_BYTES_MAX + 1];
};

struct certs *certs_new(const struct x509_pair *ca)
{
    struct certs *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->ca = ca;
    map_init(&c->by_name);
    list_init(&c->recent);
    return c;
}

static void drop(struct certs *c, struct entry *e)
{
    map_remove(&c->by_name, &e->by_name);
    list_remove(&e->recent);
    tls_cert_unref(e->cert);
    free(e);
    c->count--;
}

void certs_free(struct certs *c)
{
    if (c == NULL)
        return;
    list_each(it, &c->recent)
    {
        drop(c, container_of(it, struct entry, recent));
    }
    map_done(&c->by_name);
    free(c);
}

static int issue(struct certs *c, const char *hostname, struct tls_cert **ret)
{
    const char *const names[] = { hostname, NULL };
    struct x509_pair pair;
    struct fault fault = { 0 };
    int r = x509_issue(c->ca, names, CERT_DAYS, &pair, &fault);
    if (r == 0) {
        r = tls_cert_new(slice_str(pair.cert_pem), slice_str(pair.key_pem), ret, &fault);
        x509_pair_free(&pair);
    }
    if (r < 0)
        log_warn("no certificate for a hostname", LSTR("hostname", hostname),
                 LSTR("why", fault.text));
    return r;
}

static struct entry *entry_new(struct certs *c, struct slice name)
{
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    memcpy(e->name, name.p, name.n);
    e->by_name.key = slice_of(e->name, name.n);
    e->issued_us = clock_wall_us();
    if (issue(c, e->name, &e->cert) < 0 || map_put(&c->by_name, &e->by_name) < 0) {
        tls_cert_unref(e->cert);
        free(e);
        return NULL;
    }
    list_push_front(&c->recent, &e->recent);
    c->count++;
    return e;
}

struct tls_cert *certs_get(struct certs *c, const char *hostname)
{
    struct slice name = slice_str(hostname);
    struct map_node *node = map_get(&c->by_name, name);
    struct entry *e = node != NULL ? container_of(node, struct entry, by_name) : NULL;
    if (e != NULL && clock_wall_us() - e->issued_us > RENEW_USEC) {
        drop(c, e);
        e = NULL;
    }
    if (e != NULL) {
        list_remove(&e->recent);
        list_push_front(&c->recent, &e->recent);
        return tls_cert_ref(e->cert);
    }
    if (name.n == 0 || name.n > HOSTNAME_BYTES_MAX || !http1_is_host(name) ||
        slice_find(name, ':') < name.n)
        return NULL;
    if (c->count >= VISITOR_CERTS_MAX)
        drop(c, container_of(c->recent.prev, struct entry, recent));
    e = entry_new(c, name);
    return e != NULL ? tls_cert_ref(e->cert) : NULL;
}
