#pragma once
/* The public keys of those who sign tokens of Access: fetched by HTTPS when they are first wanted,
 * kept, and fetched anew when they are old or a token names one that is not among them. One fetch
 * for each issuer at a time, however many wait for it, and seldom enough that nobody can make us
 * a nuisance to an issuer. One set for each worker. Loop thread. */
#include "codec/jwt.h"
#include "connector/access_policy.h"
#include "net/loop.h"

struct serve;
struct access_keys;
struct key_source; /* one issuer's keys; counted */

/* The age past which keys are fetched anew while the old ones still count, and the age past which
 * they count no more: an issuer that withdrew a key must be heard within a day. */
#define KEYS_FRESH_NSEC (3600 * NSEC_PER_SEC)
#define KEYS_STALE_NSEC (24 * 3600 * NSEC_PER_SEC)
/* From one fetch to the next that an unknown key id may cause; after failures the wait doubles from
 * one second to a minute. */
#define KEYS_PAUSE_NSEC     (10 * NSEC_PER_SEC)
#define KEYS_RETRY_NSEC     NSEC_PER_SEC
#define KEYS_RETRY_NSEC_MAX (60 * NSEC_PER_SEC)
#define KEYS_FETCH_NSEC     (10 * NSEC_PER_SEC) /* look-up to last byte */
#define KEYS_SOURCES_MAX    256                 /* issuers kept; the least used one gives way */
#define KEYS_FAILURE_BYTES  256

struct access_keys *access_keys_new(struct serve *s);
/* Ends what is under way. Turn the loop once before freeing. NULL is accepted. */
void access_keys_abort(struct access_keys *k);
void access_keys_free(struct access_keys *k);

/* A reference to the policy's source. NULL when memory is short. */
struct key_source *key_source_of(struct access_keys *k, const struct access_policy *policy);
void key_source_unref(struct key_source *s); /* NULL is accepted */

/* Somebody who waits for a fetch. */
struct key_wait {
    struct list node;
    struct task *task; /* woken when it is over */
};

/* Whether a key of the issuer's made the token's signature: 0; ERR_AUTH; ERR_NOTFOUND: none of the
 * keys that are there did, and `key_source_want` may bring others. */
int key_source_check(struct key_source *s, const struct jwt *t) __attribute__((warn_unused_result));
/* Asks for newer keys. True when a fetch is under way: the wait's task is woken when it is over,
 * unless key_wait_end came first. False when it is too early to ask again. */
bool key_source_want(struct key_source *s, struct key_wait *w);
void key_wait_end(struct key_wait *w); /* safe on a zeroed one */
/* Why there are no newer keys; "" when the last fetch was good. */
const char *key_source_failure(const struct key_source *s);
