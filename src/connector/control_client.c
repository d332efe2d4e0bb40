#include "connector/control_client.h"

#include <netinet/in.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"

#define BYTES_MAX (CAPNP_MESSAGE_BYTES_MAX + 65536)

int control_client_init(struct control_client *c, struct loop *loop, struct stream *s,
                        struct task *task)
{
    *c = (struct control_client){ .s = s };
    s->owner = task;
    buf_init(&c->in, loop_chunks(loop), BYTES_MAX);
    buf_init(&c->out, loop_chunks(loop), BYTES_MAX);
    c->rpc = rpc_new();
    return c->rpc != NULL ? rpc_bootstrap(c->rpc, &c->out) : ERR_NOMEM;
}

static void buf_take_over(struct buf *to, struct buf *from, struct chunk_pool *chunks)
{
    buf_init(to, chunks, BYTES_MAX);
    (void)buf_move(to, from, SIZE_MAX);
    buf_done(from);
}

void control_client_move(struct control_client *from, struct control_client *to, struct loop *loop,
                         struct task *task)
{
    *to = *from;
    buf_take_over(&to->in, &from->in, loop_chunks(loop));
    buf_take_over(&to->out, &from->out, loop_chunks(loop));
    *from = (struct control_client){ 0 };
    to->s->owner = task;
}

void control_client_done(struct control_client *c)
{
    if (c->s == NULL)
        return;
    stream_release(c->s);
    rpc_free(c->rpc);
    buf_done(&c->in);
    buf_done(&c->out);
    *c = (struct control_client){ 0 };
}

/* Sixteen bytes, IPv4 in its mapped form, as the reference sends it. */
static struct slice ip_bytes(const struct addr *a, uint8_t bytes[static 16])
{
    memset(bytes, 0, 16);
    if (a->sa.ss_family == AF_INET) {
        bytes[10] = bytes[11] = 0xff;
        memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)&a->sa)->sin_addr, 4);
    } else if (a->sa.ss_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)&a->sa)->sin6_addr, 16);
    }
    return slice_of(bytes, 16);
}

int control_client_register(struct control_client *c, const struct connection_identity *identity,
                            unsigned index, unsigned attempts, const struct addr *local)
{
    uint8_t ip[16];
    struct register_params p = {
        .account = slice_str(identity->account),
        .secret = slice_of(identity->secret, identity->secret_bytes),
        .tunnel = identity->tunnel,
        .connector = identity->connector,
        .index = (uint8_t)index,
        .attempts = (uint8_t)(attempts < 255 ? attempts : 255),
        .version = slice_str(identity->version),
        .arch = slice_str(identity->arch),
        .local_ip = ip_bytes(local, ip),
    };
    for (size_t i = 0; i < REGISTER_FEATURES_MAX && identity->features[i] != NULL; i++)
        p.features[p.feature_count++] = slice_str(identity->features[i]);
    return register_call(c->rpc, &p, &c->out, &c->register_call);
}

int control_client_unregister(struct control_client *c)
{
    c->is_unregistering = true;
    return unregister_call(c->rpc, &c->out, &c->unregister_call);
}

int control_client_report(struct control_client *c, const char *json)
{
    int r = local_configuration_call(c->rpc, slice_str(json), &c->out, &c->report_call);
    c->is_reporting = r == 0;
    return r;
}

void control_client_finish(struct control_client *c)
{
    if (c->is_finished || c->s == NULL)
        return;
    c->is_finished = true;
    if (rpc_abort(&c->out, "rpc: shutdown") == 0)
        (void)!stream_write(c->s, &c->out);
    if (buf_is_empty(&c->out))
        stream_finish(c->s);
}

static void take_registration(struct control_client *c, const struct rpc_event *e)
{
    struct register_result result;
    c->registered = CONTROL_REFUSED;
    if (e->kind == RPC_EXCEPTION) {
        (void)snprintf(c->cause, sizeof c->cause, "%s", e->text);
    } else if (register_result_read(&e->value, &result) < 0) {
        (void)snprintf(c->cause, sizeof c->cause, "the edge's answer cannot be read");
    } else if (!result.is_accepted) {
        (void)snprintf(c->cause, sizeof c->cause, "%.*s",
                       (int)(result.cause.n < 160 ? result.cause.n : 160),
                       result.cause.n > 0 ? (const char *)result.cause.p : "");
        c->should_retry = result.should_retry;
    } else {
        c->registered = CONTROL_OK;
        c->connection = result.connection;
        c->is_remotely_managed = result.is_remotely_managed;
        c->extensions = result.extensions;
        (void)snprintf(c->location, sizeof c->location, "%.*s",
                       (int)(result.location.n < 60 ? result.location.n : 60),
                       result.location.n > 0 ? (const char *)result.location.p : "");
    }
}

static void take_report(struct control_client *c, const struct rpc_event *e)
{
    c->is_reporting = false;
    c->has_report_failed = e->kind == RPC_EXCEPTION;
    if (c->has_report_failed)
        log_warn("the edge did not take the local configuration", LSTR("why", e->text));
}

static int take_events(struct control_client *c)
{
    struct rpc_event e;
    while (rpc_next(c->rpc, &c->in, &c->out, &e) == 0) {
        if (e.kind == RPC_OVER)
            return ERR_CLOSED;
        if (e.kind == RPC_CALL)
            (void)!rpc_answer_unimplemented(c->rpc, &e, &c->out);
        else if (c->is_unregistering && e.id == c->unregister_call)
            c->unregistered = e.kind == RPC_RETURN ? CONTROL_OK : CONTROL_REFUSED;
        else if (c->is_reporting && e.id == c->report_call)
            take_report(c, &e);
        else if (e.id == c->register_call && c->registered == CONTROL_PENDING)
            take_registration(c, &e);
    }
    return ERR_AGAIN;
}

int control_client_run(struct control_client *c)
{
    int r;
    if (c->is_finished)
        return ERR_AGAIN;
    while ((r = stream_read(c->s, &c->in, READ_STEP_BYTES)) == 0)
        continue;
    int events = take_events(c);
    int w = buf_is_empty(&c->out) ? 0 : stream_write(c->s, &c->out);
    if (events != ERR_AGAIN)
        return events;
    return r == ERR_AGAIN && (w == 0 || w == ERR_AGAIN) ? ERR_AGAIN : r != ERR_AGAIN ? r : w;
}
