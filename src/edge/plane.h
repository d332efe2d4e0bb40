#pragma once
/* How the edge's workers speak with the control plane, which they do not know: a few calls that
 * never block, and messages that come back by mail. Filled by the program. */
#include "base/text.h"
#include "net/addr.h"
#include "net/loop.h"

#define REGISTRATION_FEATURES_MAX 16
#define REGISTRATION_TEXT_BYTES   64
#define REGISTRATION_SECRET_BYTES 256
#define REGISTRATION_CAUSE_BYTES  160

/* One registerConnection on its way to the control plane and back (docs/protocol.md §7). From
 * malloc; whoever holds it last frees it with registration_free. */
struct registration {
    struct mail mail; /* free for whoever holds the message */
    struct mailbox
        *reply; /* counted; the answer goes there with `deliver` and `drop` set to answer_… */
    void (*answer_deliver)(struct mail *);
    void (*answer_drop)(struct mail *);
    void *answer_ctx; /* the asking worker's */
    void *plane_ctx;  /* the control plane's, while it has the message */
    uint64_t link;

    char account[REGISTRATION_TEXT_BYTES];
    struct uuid tunnel, connector;
    uint8_t secret[REGISTRATION_SECRET_BYTES];
    size_t secret_bytes;
    uint8_t index;    /* connIndex */
    uint8_t attempts; /* numPreviousAttempts */
    bool replace_existing;
    char version[REGISTRATION_TEXT_BYTES], arch[REGISTRATION_TEXT_BYTES];
    char features[REGISTRATION_FEATURES_MAX][REGISTRATION_TEXT_BYTES];
    size_t feature_count;
    char origin_ip[ADDR_TEXT_BYTES]; /* where the connector comes from */
    const char *transport;           /* "quic" or "http2", static */

    bool is_accepted;
    struct uuid connection;
    char location[REGISTRATION_TEXT_BYTES];
    bool is_remotely_managed;
    char cause[REGISTRATION_CAUSE_BYTES];
    bool should_retry;
    uint64_t retry_after_ns;
};

struct registration *registration_new(struct mailbox *reply);
/* Wipes the secret. NULL is accepted. */
void registration_free(struct registration *r);

struct plane {
    void *ctx;
    /* Any worker's thread. Takes r over and mails it back, answered. */
    void (*enroll)(void *ctx, struct registration *r);
    /* The connector unregistered: it takes no new exchange but lives on for its grace period. */
    void (*unregister)(void *ctx, uint64_t link);
    /* The connection is gone. Also after a registration that was still under way. */
    void (*gone)(void *ctx, uint64_t link);
};
