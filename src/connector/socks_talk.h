#pragma once
/* The server's part of one SOCKS 5 dialogue (docs/protocol.md §12), up to where the bytes of the
 * connection begin: no authentication, CONNECT only; names are looked up here, then the policy is
 * asked about the address, and that very address is dialled by the owner. Loop thread. */
#include "base/buf.h"
#include "codec/socks.h"
#include "connector/ip_policy.h"
#include "http/failure.h"
#include "net/resolve.h"

enum socks_stage {
    SOCKS_GREETING,
    SOCKS_REQUEST,
    SOCKS_RESOLVING,
    SOCKS_DIALLING, /* the owner's turn: socks_talk_dialled */
    SOCKS_READY,
    SOCKS_FAILED,
};

struct socks_talk {
    enum socks_stage stage;
    bool has_policy; /* without one the destination means nothing: the connection is there */
    const struct yaml_node *ip_rules; /* of a policy */
    struct resolve *resolve;
    nsec look_up; /* time for one; 0 = for ever */
    struct deadline late;
    struct socks_dest dest; /* as it was asked for; its host lies in `host` */
    uint8_t host[256];
    struct addr addr;     /* what to dial */
    enum failure failure; /* why there is no connection, if that is no fault of the dialogue */
    int err;
};

enum socks_news {
    SOCKS_WAITS,  /* for bytes, or for a name */
    SOCKS_SAYS,   /* the reply is to be sent as one message; then go on with another call */
    SOCKS_DIALS,  /* `addr`, when there is a policy; then socks_talk_dialled */
    SOCKS_BEGINS, /* what is in `in` and what follows is the connection's */
    SOCKS_ENDS,   /* there is no connection; the reply, if any, was said */
};

struct socks_reply {
    size_t n; /* 0 = none */
    uint8_t bytes[SOCKS_REQUEST_BYTES_MAX];
};

/* `look_up`: time for a name to be found, 0 = for ever. */
void socks_talk_init(struct socks_talk *t, bool has_policy, const struct yaml_node *ip_rules,
                     nsec look_up);
void socks_talk_done(struct socks_talk *t);
/* One address stands for a name, as with the reference: the first of IPv4, else the first. `count`
 * is not 0. */
const struct addr *socks_address_of(const struct addr *found, size_t count);
/* Takes messages off the front of *in. `owner` is woken when a name is known. */
enum socks_news socks_talk_run(struct socks_talk *t, struct loop *loop, struct task *owner,
                               struct buf *in, struct socks_reply *reply);
/* After SOCKS_DIALS: `err` is 0, with the connection's own address, or why it failed. */
void socks_talk_dialled(struct socks_talk *t, int err, const struct addr *local,
                        struct socks_reply *reply);
