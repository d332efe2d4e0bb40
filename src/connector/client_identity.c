#include "connector/client_identity.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "connector/ingress_int.h"
#include "connector/rule_extras.h"

#define LOOK_EVERY NSEC_PER_SEC
#define PATH_BYTES 4096 /* as for what is read at first */

/* What tells one content of a file from another, without reading it. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written;
};

struct client_identity {
    _Atomic unsigned refs;
    _Atomic uint64_t look_at;
    pthread_mutex_t reading; /* held by who looks; nobody waits for it */
    struct stamp certificate, key;
    pthread_mutex_t lock;           /* of these two */
    struct tls_creds *tls, *tls_h2; /* NULL: those of the rule still count */
};

static struct stamp stamp_of(struct slice path)
{
    char name[PATH_BYTES];
    struct stat st;
    if (path.n == 0 || path.n >= sizeof name)
        return (struct stamp){ 0 };
    memcpy(name, path.p, path.n);
    name[path.n] = 0;
    if (stat(name, &st) < 0)
        return (struct stamp){ 0 };
    return (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_mtim };
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->written.tv_sec == b->written.tv_sec && a->written.tv_nsec == b->written.tv_nsec;
}

struct client_identity *client_identity_new(const struct rule *r)
{
    struct client_identity *i = calloc(1, sizeof *i);
    if (i == NULL)
        return NULL;
    atomic_init(&i->refs, 1);
    (void)pthread_mutex_init(&i->reading, NULL);
    (void)pthread_mutex_init(&i->lock, NULL);
    i->certificate = stamp_of(r->extras->certificate);
    i->key = stamp_of(r->extras->key);
    return i;
}

struct client_identity *client_identity_ref(struct client_identity *i)
{
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
    return i;
}

void client_identity_unref(struct client_identity *i)
{
    if (i == NULL || atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) != 1)
        return;
    tls_creds_unref(i->tls);
    tls_creds_unref(i->tls_h2);
    (void)pthread_mutex_destroy(&i->reading);
    (void)pthread_mutex_destroy(&i->lock);
    free(i);
}

static void take(struct client_identity *i, const struct rule *fresh)
{
    struct tls_creds *tls = i->tls, *tls_h2 = i->tls_h2;
    (void)pthread_mutex_lock(&i->lock);
    i->tls = fresh->tls;
    i->tls_h2 = fresh->tls_h2;
    (void)pthread_mutex_unlock(&i->lock);
    tls_creds_unref(tls);
    tls_creds_unref(tls_h2);
}

static void look(const struct rule *r)
{
    struct client_identity *i = r->identity;
    struct stamp certificate = stamp_of(r->extras->certificate), key = stamp_of(r->extras->key);
    struct rule fresh = *r;
    struct fault f = { 0 };
    if (is_same(&certificate, &i->certificate) && is_same(&key, &i->key))
        return;
    fresh.tls = fresh.tls_h2 = NULL;
    if (ingress_load_rule(&fresh, &f) < 0) {
        tls_creds_unref(fresh.tls);
        tls_creds_unref(fresh.tls_h2);
        log_warn("a client certificate has changed and cannot be used",
                 LSLICE("service", r->service.text), LSTR("why", f.text));
        return;
    }
    take(i, &fresh);
    i->certificate = certificate;
    i->key = key;
    log_info("a client certificate has changed", LSLICE("service", r->service.text));
}

struct tls_creds *rule_creds(const struct rule *r, bool offers_h2, nsec now)
{
    struct client_identity *i = r->identity;
    struct tls_creds *creds = NULL;
    if (i != NULL) {
        uint64_t at = atomic_load_explicit(&i->look_at, memory_order_relaxed);
        if (now >= at && pthread_mutex_trylock(&i->reading) == 0) {
            atomic_store_explicit(&i->look_at, now + LOOK_EVERY, memory_order_relaxed);
            look(r);
            (void)pthread_mutex_unlock(&i->reading);
        }
        (void)pthread_mutex_lock(&i->lock);
        creds = offers_h2 ? i->tls_h2 : i->tls;
        if (creds != NULL)
            (void)tls_creds_ref(creds);
        (void)pthread_mutex_unlock(&i->lock);
    }
    if (creds != NULL)
        return creds;
    creds = offers_h2 ? r->tls_h2 : r->tls;
    return creds != NULL ? tls_creds_ref(creds) : NULL;
}
