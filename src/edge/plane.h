#pragma once
/* How the edge's workers speak with the control plane, which they do not know: a few calls that
 * never block, and messages that come back by mail. Filled by the program. */
#include "base/text.h"
#include "model/link_gauge.h"
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
    struct link_gauge *gauge;        /* counted; or NULL */

    bool is_accepted;
    uint64_t replica; /* the connector as the hash policy knows it */
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

#define CONFIG_TEXT_BYTES 512

/* One version of a tunnel's configuration on its way from the control plane to a connector, and
 * back with the answer. From malloc; whoever holds it last frees it with config_push_free. */
struct config_push {
    struct mail mail;         /* free for whoever holds the message */
    void *worker, *plane_ctx; /* of the edge and the control plane, while each has it */
    uint64_t link;
    struct uuid tunnel, connector; /* the control plane's */
    int32_t version;
    struct slice json;

    int err;         /* 0: the connector answered. ERR_ORIGIN: it failed, as the text says */
    int32_t applied; /* the version in force there */
    char text[CONFIG_TEXT_BYTES]; /* why it is not the one that was sent; empty = it is, or newer */
};

/* `json` is copied. NULL when memory is short. */
struct config_push *config_push_new(struct slice json);
void config_push_free(struct config_push *p); /* NULL is accepted */

/* The rules that a connector has of its own, on their way to the control plane and back: until
 * then its connection may send no more. Owned as config_push. */
struct local_report {
    struct mail mail;
    struct mailbox *reply; /* counted; it goes there with `deliver` and `drop` set to answer_… */
    void (*answer_deliver)(struct mail *);
    void (*answer_drop)(struct mail *);
    void *answer_ctx, *plane_ctx;
    uint64_t link;
    struct slice json; /* unchecked */
};
struct local_report *local_report_new(struct mailbox *reply, struct slice json);
void local_report_free(struct local_report *r); /* NULL is accepted */

struct plane {
    void *ctx;
    /* Any worker's thread. Takes r over and mails it back, answered. */
    void (*enroll)(void *ctx, struct registration *r);
    /* The connector unregistered: it takes no new exchange but lives on for its grace period. */
    void (*unregister)(void *ctx, uint64_t link);
    /* What became of a configuration that edge_configure was given. Takes p over. */
    void (*configured)(void *ctx, struct config_push *p);
    /* What a connector serves by itself. Takes r over and mails it back. */
    void (*reported)(void *ctx, struct local_report *r);
    /* We stand in for this tunnel's connectors at the edge behind us, again or no more. */
    void (*lends)(void *ctx, const struct uuid *tunnel, bool is_there);
    /* The connection is gone. Also after a registration that was still under way. */
    void (*gone)(void *ctx, uint64_t link);
};
