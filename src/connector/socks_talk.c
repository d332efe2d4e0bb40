#include "connector/socks_talk.h"

#include <netinet/in.h>
#include <string.h>

#include "base/err.h"

void socks_talk_init(struct socks_talk *t, bool has_policy, const struct yaml_node *ip_rules,
                     nsec look_up)
{
    *t = (struct socks_talk){ .has_policy = has_policy, .ip_rules = ip_rules, .look_up = look_up };
}

void socks_talk_done(struct socks_talk *t)
{
    deadline_clear(&t->late);
    resolve_free(t->resolve);
    t->resolve = NULL;
}

static enum socks_news refuse(struct socks_talk *t, enum socks_code code, bool echoes,
                              struct socks_reply *reply)
{
    t->stage = SOCKS_FAILED;
    reply->n = socks_reply_encode(code, echoes ? &t->dest : NULL, reply->bytes);
    return SOCKS_SAYS;
}

/* The front of *in, as much of it as a message may have. */
static struct slice front_of(const struct buf *in, uint8_t *bytes, size_t n)
{
    return slice_of(bytes, buf_copy(in, 0, bytes, n));
}

static enum socks_news take_greeting(struct socks_talk *t, struct buf *in,
                                     struct socks_reply *reply)
{
    uint8_t bytes[SOCKS_GREETING_BYTES_MAX];
    bool offers_none;
    int n = socks_greeting_decode(front_of(in, bytes, sizeof bytes), &offers_none);
    if (n == ERR_AGAIN)
        return SOCKS_WAITS;
    t->stage = n < 0 || !offers_none ? SOCKS_FAILED : SOCKS_REQUEST;
    if (n < 0)
        return SOCKS_ENDS;
    buf_drop(in, (size_t)n);
    reply->n =
        socks_method_encode(offers_none ? SOCKS_METHOD_NONE : SOCKS_METHOD_REFUSED, reply->bytes);
    return SOCKS_SAYS;
}

static void take_ip(struct socks_talk *t)
{
    struct addr *a = &t->addr;
    *a = (struct addr){ 0 };
    if (t->dest.type == SOCKS_IPV4) {
        a->size = sizeof(struct sockaddr_in);
        a->sa.ss_family = AF_INET;
        memcpy(&((struct sockaddr_in *)(void *)&a->sa)->sin_addr, t->host, 4);
    } else {
        a->size = sizeof(struct sockaddr_in6);
        a->sa.ss_family = AF_INET6;
        memcpy(&((struct sockaddr_in6 *)(void *)&a->sa)->sin6_addr, t->host, 16);
    }
    addr_set_port(a, t->dest.port);
}

/* The reference says the same of all that is not dialled. */
static enum socks_news not_allowed(struct socks_talk *t, enum failure failure, int err,
                                   struct socks_reply *reply)
{
    t->failure = failure;
    t->err = err;
    return refuse(t, SOCKS_NOT_ALLOWED, true, reply);
}

static enum socks_news unresolved(struct socks_talk *t, int err, struct socks_reply *reply)
{
    bool is_ours = err == ERR_NOMEM || err == ERR_LIMIT;
    return not_allowed(t, is_ours ? FAILURE_CONNECTOR_BUSY : FAILURE_ORIGIN_UNRESOLVED, err, reply);
}

static enum socks_news ask_policy(struct socks_talk *t, struct socks_reply *reply)
{
    if (!ip_policy_allows(t->ip_rules, &t->addr))
        return not_allowed(t, FAILURE_ADDRESS_REFUSED, ERR_DENIED, reply);
    t->stage = SOCKS_DIALLING;
    return SOCKS_DIALS;
}

static enum socks_news take_request(struct socks_talk *t, struct loop *loop, struct task *owner,
                                    struct buf *in, struct socks_reply *reply)
{
    uint8_t bytes[SOCKS_REQUEST_BYTES_MAX];
    struct socks_request q;
    int n = socks_request_decode(front_of(in, bytes, sizeof bytes), &q);
    if (n == ERR_AGAIN)
        return SOCKS_WAITS;
    if (n == ERR_UNSUPPORTED)
        return refuse(t, SOCKS_BAD_ADDRESS, false, reply);
    if (n < 0) {
        t->stage = SOCKS_FAILED;
        return SOCKS_ENDS;
    }
    buf_drop(in, (size_t)n);
    t->dest = q.dest;
    memcpy(t->host, q.dest.host.p, q.dest.host.n);
    t->dest.host.p = t->host;
    if (q.command != SOCKS_CONNECT)
        return refuse(t, SOCKS_BAD_COMMAND, false, reply);
    if (!t->has_policy) {
        t->stage = SOCKS_DIALLING;
        return SOCKS_DIALS;
    }
    if (t->dest.type != SOCKS_NAME) {
        take_ip(t);
        return ask_policy(t, reply);
    }
    t->stage = SOCKS_RESOLVING;
    int r = resolve_start(loop, t->dest.host, t->dest.port, owner, &t->resolve);
    if (r < 0)
        return unresolved(t, r, reply);
    if (t->look_up > 0)
        deadline_set(&t->late, owner, loop_now(loop) + t->look_up);
    return SOCKS_WAITS;
}

const struct addr *socks_address_of(const struct addr *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (found[i].sa.ss_family == AF_INET)
            return &found[i];
    return found;
}

static enum socks_news take_name(struct socks_talk *t, struct socks_reply *reply)
{
    struct addr found[RESOLVE_ADDRS_MAX];
    size_t count = 0;
    bool is_late = deadline_take(&t->late);
    int r = is_late ? ERR_TIMEOUT : resolve_result(t->resolve, found, RESOLVE_ADDRS_MAX, &count);
    if (r == ERR_AGAIN)
        return SOCKS_WAITS;
    socks_talk_done(t);
    if (r < 0)
        return unresolved(t, r, reply);
    t->addr = *socks_address_of(found, count);
    return ask_policy(t, reply);
}

enum socks_news socks_talk_run(struct socks_talk *t, struct loop *loop, struct task *owner,
                               struct buf *in, struct socks_reply *reply)
{
    reply->n = 0;
    switch (t->stage) {
    case SOCKS_GREETING:
        return take_greeting(t, in, reply);
    case SOCKS_REQUEST:
        return take_request(t, loop, owner, in, reply);
    case SOCKS_RESOLVING:
        return take_name(t, reply);
    case SOCKS_DIALLING:
        return SOCKS_WAITS;
    case SOCKS_READY:
        return SOCKS_BEGINS;
    case SOCKS_FAILED:
        break;
    }
    return SOCKS_ENDS;
}

void socks_talk_dialled(struct socks_talk *t, int err, const struct addr *local,
                        struct socks_reply *reply)
{
    if (err < 0) {
        (void)refuse(t,
                     err == ERR_REFUSED   ? SOCKS_REFUSED
                     : err == ERR_UNREACH ? SOCKS_NET_UNREACHABLE
                                          : SOCKS_HOST_UNREACHABLE,
                     false, reply);
        return;
    }
    struct slice ip = ip_bytes(local);
    struct socks_dest here = { .type = ip.n == 16 ? SOCKS_IPV6 : SOCKS_IPV4,
                               .host = ip,
                               .port = addr_port(local) };
    t->stage = SOCKS_READY;
    reply->n = socks_reply_encode(SOCKS_GRANTED, ip.n > 0 ? &here : NULL, reply->bytes);
}
