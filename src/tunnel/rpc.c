#include "tunnel/rpc.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/secret.h"

/* Union tags of Message (rpc.capnp). */
enum message_kind {
    M_UNIMPLEMENTED = 0,
    M_ABORT = 1,
    M_CALL = 2,
    M_RETURN = 3,
    M_FINISH = 4,
    M_RELEASE = 6,
    M_BOOTSTRAP = 8,
    M_DISEMBARGO = 13,
};

enum { RETURN_RESULTS = 0, RETURN_EXCEPTION = 1 };
enum { TARGET_IMPORTED = 0, TARGET_PROMISED = 1 };
enum {
    CAP_SENDER_HOSTED = 1,
    CAP_RECEIVER_HOSTED = 3,
    CAP_RECEIVER_ANSWER = 4,
    CAP_THIRD_PARTY = 5
};
enum { CONTEXT_SENDER_LOOPBACK = 0, CONTEXT_RECEIVER_LOOPBACK = 1 };

/* Flags whose default is true are stored inverted: a set bit says false. */
#define BIT_RELEASE_PARAM_CAPS  32
#define BIT_RELEASE_RESULT_CAPS 32

struct answer {
    uint32_t id;
    bool is_used, is_bootstrap;
};

struct question {
    bool is_used, is_bootstrap, is_canceled;
};

struct rpc {
    struct answer answers[RPC_CALLS_MAX];
    struct question questions[RPC_CALLS_MAX];
    uint32_t free_ids[RPC_CALLS_MAX]; /* a stack: the last freed id is used first */
    size_t free_count;
    uint64_t export_refs; /* references to our object, id 0, that the peer holds */
    bool has_import, has_asked;
    uint32_t import_id;
    uint8_t *frame; /* the message being looked at */
    size_t frame_cap, frame_bytes;
    struct capnp_message message;
    bool is_over;
    int err; /* why, when nobody ended it */
};

struct rpc *rpc_new(void)
{
    struct rpc *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    for (uint32_t i = 0; i < RPC_CALLS_MAX; i++)
        r->free_ids[i] = RPC_CALLS_MAX - 1 - i;
    r->free_count = RPC_CALLS_MAX;
    return r;
}

void rpc_free(struct rpc *r)
{
    if (r == NULL)
        return;
    secret_free(r->frame, r->frame_cap); /* a registration has the tunnel's secret */
    free(r);
}

/* ---- writing ---- */

int rpc_send(struct capnp_builder *b, struct buf *out)
{
    struct slice frame = capnp_finish(b);
    int r = b->err < 0 ? b->err : buf_put(out, frame);
    capnp_builder_done(b);
    return r;
}

static struct capnp_ref message(struct capnp_builder *b, enum message_kind kind,
                                uint16_t data_words, uint16_t pointers)
{
    struct capnp_ref root = capnp_build(b, 1, 1);
    capnp_put_u16(b, root, 0, (uint16_t)kind);
    return capnp_put(b, root, 0, data_words, pointers);
}

int rpc_abort(struct buf *out, const char *reason)
{
    struct capnp_builder b;
    struct capnp_ref exception = message(&b, M_ABORT, 1, 1);
    capnp_put_text(&b, exception, 0, slice_str(reason));
    return rpc_send(&b, out);
}

static int end_with(struct rpc *r, struct buf *out, const char *reason)
{
    r->is_over = true;
    (void)!rpc_abort(out, reason);
    return 0;
}

static struct capnp_ref return_message(struct capnp_builder *b, uint32_t id, uint16_t kind)
{
    struct capnp_ref body = message(b, M_RETURN, 2, 1);
    capnp_put_u32(b, body, 0, id);
    capnp_put_bool(b, body, BIT_RELEASE_PARAM_CAPS, true);
    capnp_put_u16(b, body, 6, kind);
    return body;
}

static int put_exception(struct buf *out, uint32_t id, const char *text)
{
    struct capnp_builder b;
    struct capnp_ref body = return_message(&b, id, RETURN_EXCEPTION);
    struct capnp_ref exception = capnp_put(&b, body, 0, 1, 1);
    capnp_put_text(&b, exception, 0, slice_str(text));
    return rpc_send(&b, out);
}

static int put_finish(struct buf *out, uint32_t id, bool release_caps)
{
    struct capnp_builder b;
    struct capnp_ref finish = message(&b, M_FINISH, 1, 0);
    capnp_put_u32(&b, finish, 0, id);
    capnp_put_bool(&b, finish, BIT_RELEASE_RESULT_CAPS, !release_caps);
    return rpc_send(&b, out);
}

/* Sends a message back inside Unimplemented. Its segment follows ours whole, so its own pointers
 * stay right. */
static int put_unimplemented(struct rpc *r, struct buf *out)
{
    if (r->message.count != 1)
        return end_with(r, out, "rpc: message not implemented");
    struct slice theirs = r->message.segments[0];
    uint8_t head[32] = { 0 };
    uint64_t root = 0;
    for (unsigned i = 0; i < 8; i++)
        root |= (uint64_t)theirs.p[i] << (8 * i);
    int64_t at = 1 + ((int64_t)(int32_t)(uint32_t)root >>
                      2); /* their root struct, in words of their segment */
    uint64_t pointer = (root & 0xffffffff00000000U) | (uint64_t)(uint32_t)((uint32_t)at << 2);
    uint64_t words[] = { (uint64_t)(3 + theirs.n / 8) << 32, (uint64_t)1 << 32 | (uint64_t)1 << 48,
                         M_UNIMPLEMENTED, pointer };
    for (unsigned i = 0; i < sizeof head; i++)
        head[i] = (uint8_t)(words[i / 8] >> (8 * (i % 8)));
    int e = buf_put(out, slice_of(head, sizeof head));
    return e == 0 ? buf_put(out, theirs) : e;
}

/* ---- answers ---- */

static struct answer *answer_of(struct rpc *r, uint32_t id)
{
    for (size_t i = 0; i < RPC_CALLS_MAX; i++)
        if (r->answers[i].is_used && r->answers[i].id == id)
            return &r->answers[i];
    return NULL;
}

static struct answer *answer_open(struct rpc *r, uint32_t id, bool is_bootstrap)
{
    for (size_t i = 0; i < RPC_CALLS_MAX; i++)
        if (!r->answers[i].is_used) {
            r->answers[i] =
                (struct answer){ .id = id, .is_used = true, .is_bootstrap = is_bootstrap };
            return &r->answers[i];
        }
    return NULL;
}

int rpc_answer(struct rpc *r, uint32_t id, uint16_t data_words, uint16_t pointers,
               struct capnp_builder *b, struct capnp_ref *ret_results)
{
    (void)r;
    struct capnp_ref body = return_message(b, id, RETURN_RESULTS);
    struct capnp_ref payload = capnp_put(b, body, 0, 0, 2);
    *ret_results = capnp_put(b, payload, 0, data_words, pointers);
    return b->err;
}

int rpc_answer_exception(struct rpc *r, uint32_t id, const char *text, struct buf *out)
{
    (void)r;
    return put_exception(out, id, text);
}

int rpc_answer_unimplemented(struct rpc *r, const struct rpc_event *call, struct buf *out)
{
    char text[80];
    (void)snprintf(text, sizeof text, "@0x%llx.@%u: capnp: method not implemented",
                   (unsigned long long)call->interface, call->method);
    return rpc_answer_exception(r, call->id, text, out);
}

static int on_bootstrap(struct rpc *r, const struct capnp_struct *body, struct buf *out)
{
    uint32_t id = capnp_u32(body, 0);
    struct capnp_builder b;
    if (answer_of(r, id) != NULL)
        return put_exception(out, id, "rpc: question ID reused");
    if (answer_open(r, id, true) == NULL)
        return ERR_LIMIT;
    r->export_refs++;
    struct capnp_ref ret = return_message(&b, id, RETURN_RESULTS);
    struct capnp_ref payload = capnp_put(&b, ret, 0, 0, 2);
    capnp_put_cap(&b, payload, 0, 0);
    struct capnp_ref cap = capnp_put_item(capnp_put_list(&b, payload, 1, 1, 1, 1), 0);
    capnp_put_u16(&b, cap, 0, CAP_SENDER_HOSTED);
    return rpc_send(&b, out);
}

/* What a MessageTarget leads to: our one object, a field of an answer that has none, nothing. */
enum target_kind { TARGET_OURS, TARGET_NULL, TARGET_NONE };

static enum target_kind target_of(struct rpc *r, const struct capnp_struct *target)
{
    if (capnp_u16(target, 4) == TARGET_IMPORTED)
        return capnp_u32(target, 0) == 0 && r->export_refs > 0 ? TARGET_OURS : TARGET_NONE;
    if (capnp_u16(target, 4) != TARGET_PROMISED)
        return TARGET_NONE;
    struct capnp_struct promise = capnp_get(target, 0);
    struct answer *a = answer_of(r, capnp_u32(&promise, 0));
    if (a == NULL || !a->is_bootstrap)
        return TARGET_NONE;
    struct capnp_list transform = capnp_list(&promise, 0);
    for (uint32_t i = 0; i < transform.count; i++) {
        struct capnp_struct op = capnp_item(&transform, i);
        if (capnp_u16(&op, 0) != 0)
            return TARGET_NULL;
    }
    return TARGET_OURS;
}

/* Capabilities among the params: 0, ERR_UNSUPPORTED (echo the call), ERR_PROTO (end; *ret_id is
 * the export that there is not). */
static int check_caps(const struct capnp_struct *params, uint32_t *ret_id)
{
    struct capnp_list caps = capnp_list(params, 1);
    for (uint32_t i = 0; i < caps.count; i++) {
        struct capnp_struct cap = capnp_item(&caps, i);
        uint16_t kind = capnp_u16(&cap, 0);
        if (kind == CAP_THIRD_PARTY)
            return ERR_UNSUPPORTED;
        if (kind == CAP_RECEIVER_HOSTED && capnp_u32(&cap, 4) != 0) {
            *ret_id = capnp_u32(&cap, 4);
            return ERR_PROTO;
        }
        if (kind > CAP_THIRD_PARTY)
            return ERR_UNSUPPORTED;
    }
    return 0;
}

/* 1 when it is an event. */
static int on_call(struct rpc *r, const struct capnp_struct *body, struct buf *out,
                   struct rpc_event *ret)
{
    uint32_t id = capnp_u32(body, 0);
    struct capnp_struct target = capnp_get(body, 0), params = capnp_get(body, 1);
    if (answer_of(r, id) != NULL)
        return end_with(r, out, "rpc: question ID reused");
    uint32_t missing = 0;
    enum target_kind kind = target_of(r, &target);
    int caps = check_caps(&params, &missing);
    if (r->message.err < 0)
        return r->message.err;
    if (caps == ERR_UNSUPPORTED)
        return put_unimplemented(r, out);
    if (caps < 0) {
        char text[80];
        (void)snprintf(text, sizeof text, "rpc: capability table references unknown export ID %u",
                       missing);
        return end_with(r, out, text);
    }
    if (answer_open(r, id, false) == NULL)
        return end_with(r, out, "rpc: too many calls under way");
    if (kind != TARGET_OURS)
        return put_exception(
            out, id, kind == TARGET_NULL ? "capnp: call on null client" : "rpc: target not found");
    *ret = (struct rpc_event){
        .kind = RPC_CALL,
        .id = id,
        .interface = capnp_u64(body, 8),
        .method = capnp_u16(body, 4),
        .value = capnp_get(&params, 0),
    };
    return r->message.err < 0 ? r->message.err : 1;
}

static int on_disembargo(struct rpc *r, const struct capnp_struct *body, struct buf *out)
{
    struct capnp_struct target = capnp_get(body, 0);
    struct capnp_builder b;
    if (capnp_u16(body, 4) != CONTEXT_SENDER_LOOPBACK)
        return put_unimplemented(r, out);
    if (target_of(r, &target) != TARGET_OURS)
        return end_with(r, out,
                        "rpc: disembargo attempted on missing answer (finished too early?)");
    struct capnp_ref answer = message(&b, M_DISEMBARGO, 1, 1);
    capnp_put_u32(&b, answer, 0, capnp_u32(body, 0));
    capnp_put_u16(&b, answer, 4, CONTEXT_RECEIVER_LOOPBACK);
    (void)capnp_put(&b, answer, 0, 1, 1);
    return rpc_send(&b, out);
}

/* ---- questions ---- */

static int question_open(struct rpc *r, bool is_bootstrap, uint32_t *ret_id)
{
    if (r->free_count == 0)
        return ERR_LIMIT;
    *ret_id = r->free_ids[--r->free_count];
    r->questions[*ret_id] = (struct question){ .is_used = true, .is_bootstrap = is_bootstrap };
    return 0;
}

static void question_close(struct rpc *r, uint32_t id)
{
    r->questions[id].is_used = false;
    r->free_ids[r->free_count++] = id;
}

int rpc_bootstrap(struct rpc *r, struct buf *out)
{
    struct capnp_builder b;
    uint32_t id;
    int e = question_open(r, true, &id);
    if (e < 0)
        return e;
    r->has_asked = true;
    struct capnp_ref body = message(&b, M_BOOTSTRAP, 1, 1);
    capnp_put_u32(&b, body, 0, id);
    return rpc_send(&b, out);
}

int rpc_call(struct rpc *r, uint64_t interface, uint16_t method, uint16_t data_words,
             uint16_t pointers, struct capnp_builder *b, struct capnp_ref *ret_params,
             uint32_t *ret_id)
{
    uint32_t id;
    int e = r->is_over || !r->has_asked ? ERR_CLOSED : question_open(r, false, &id);
    if (e < 0)
        return e;
    struct capnp_ref body = message(b, M_CALL, 3, 3);
    capnp_put_u32(b, body, 0, id);
    capnp_put_u16(b, body, 4, method);
    capnp_put_u64(b, body, 8, interface);
    struct capnp_ref target = capnp_put(b, body, 0, 1, 1);
    if (r->has_import) {
        capnp_put_u32(b, target, 0, r->import_id);
    } else {
        /* Pipelined on the answer to our Bootstrap, which is question 0. */
        capnp_put_u16(b, target, 4, TARGET_PROMISED);
        (void)capnp_put(b, target, 0, 1, 1);
    }
    struct capnp_ref payload = capnp_put(b, body, 1, 0, 2);
    *ret_params = capnp_put(b, payload, 0, data_words, pointers);
    *ret_id = id;
    return b->err;
}

int rpc_cancel(struct rpc *r, uint32_t id, struct buf *out)
{
    if (id >= RPC_CALLS_MAX || !r->questions[id].is_used || r->questions[id].is_canceled)
        return 0;
    r->questions[id].is_canceled = true;
    return put_finish(out, id, true);
}

/* The object that a Bootstrap gave us. */
static void take_import(struct rpc *r, const struct capnp_struct *payload)
{
    uint32_t index;
    struct capnp_list caps = capnp_list(payload, 1);
    if (capnp_cap(payload, 0, &index) < 0 || index >= caps.count)
        return;
    struct capnp_struct cap = capnp_item(&caps, index);
    if (capnp_u16(&cap, 0) != CAP_SENDER_HOSTED)
        return;
    r->has_import = true;
    r->import_id = capnp_u32(&cap, 4);
}

static void exception_text(const struct capnp_struct *exception, char text[static RPC_TEXT_BYTES])
{
    struct slice reason = capnp_text(exception, 0);
    (void)snprintf(text, RPC_TEXT_BYTES, "%.*s",
                   (int)(reason.n < RPC_TEXT_BYTES ? reason.n : RPC_TEXT_BYTES - 1),
                   reason.n > 0 ? (const char *)reason.p : "");
}

static int on_return(struct rpc *r, const struct capnp_struct *body, struct buf *out,
                     struct rpc_event *ret)
{
    uint32_t id = capnp_u32(body, 0);
    uint16_t kind = capnp_u16(body, 6);
    if (id >= RPC_CALLS_MAX || !r->questions[id].is_used)
        return 0;
    struct question q = r->questions[id];
    struct capnp_struct value = capnp_get(body, 0);
    if (q.is_bootstrap && kind == RETURN_RESULTS)
        take_import(r, &value);
    if (r->message.err < 0)
        return r->message.err;
    question_close(r, id);
    int e = q.is_canceled ? 0 : put_finish(out, id, kind != RETURN_RESULTS);
    if (e < 0 || q.is_canceled || (q.is_bootstrap && kind == RETURN_RESULTS))
        return e;
    *ret = (struct rpc_event){ .kind = RPC_EXCEPTION, .id = id };
    if (kind == RETURN_RESULTS) {
        ret->kind = RPC_RETURN;
        ret->value = capnp_get(&value, 0);
    } else if (kind == RETURN_EXCEPTION) {
        exception_text(&value, ret->text);
    } else {
        (void)snprintf(ret->text, sizeof ret->text, "the call was canceled");
    }
    return r->message.err < 0 ? r->message.err : 1;
}

/* ---- messages ---- */

static void on_finish(struct rpc *r, const struct capnp_struct *body)
{
    struct answer *a = answer_of(r, capnp_u32(body, 0));
    if (a == NULL)
        return;
    bool releases = !capnp_bool(body, BIT_RELEASE_RESULT_CAPS);
    if (a->is_bootstrap && releases && r->export_refs > 0)
        r->export_refs--;
    a->is_used = false;
}

static void on_release(struct rpc *r, const struct capnp_struct *body)
{
    uint32_t count = capnp_u32(body, 4);
    if (capnp_u32(body, 0) == 0)
        r->export_refs = r->export_refs > count ? r->export_refs - count : 0;
}

/* 1 when there is an event, 0 when the message is done with, < 0 when it cannot be understood. */
static int dispatch(struct rpc *r, const struct capnp_struct *root, struct buf *out,
                    struct rpc_event *ret)
{
    struct capnp_struct body = capnp_get(root, 0);
    if (root->data == NULL && root->pointers == NULL)
        return 0; /* a null root is ignored */
    switch (capnp_u16(root, 0)) {
    case M_UNIMPLEMENTED:
        return 0;
    case M_ABORT:
        r->is_over = true;
        return 0;
    case M_CALL:
        return on_call(r, &body, out, ret);
    case M_RETURN:
        return on_return(r, &body, out, ret);
    case M_FINISH:
        on_finish(r, &body);
        return 0;
    case M_RELEASE:
        on_release(r, &body);
        return 0;
    case M_BOOTSTRAP:
        return on_bootstrap(r, &body, out);
    case M_DISEMBARGO:
        return on_disembargo(r, &body, out);
    default:
        return put_unimplemented(r, out);
    }
}

/* Takes one whole frame out of *in. */
static int take_frame(struct rpc *r, struct buf *in)
{
    uint8_t start[8 + 4 * CAPNP_SEGMENTS_MAX];
    size_t size;
    int e = capnp_frame(slice_of(start, buf_copy(in, 0, start, sizeof start)), &size);
    if (e < 0)
        return e;
    if (buf_len(in) < size)
        return size > in->max ? ERR_LIMIT : ERR_AGAIN;
    if (size > r->frame_cap) {
        uint8_t *p = secret_grow(r->frame, r->frame_bytes, size);
        if (p == NULL)
            return ERR_NOMEM;
        r->frame = p;
        r->frame_cap = size;
    }
    (void)buf_copy(in, 0, r->frame, size);
    buf_drop(in, size);
    r->frame_bytes = size;
    return 0;
}

int rpc_next(struct rpc *r, struct buf *in, struct buf *out, struct rpc_event *ret)
{
    while (!r->is_over) {
        struct capnp_struct root;
        int e = take_frame(r, in);
        if (e == ERR_AGAIN)
            return ERR_AGAIN;
        if (e == 0)
            e = capnp_open(&r->message, slice_of(r->frame, r->frame_bytes), &root);
        if (e == 0)
            e = dispatch(r, &root, out, ret);
        if (e == 1)
            return 0;
        if (e < 0) {
            r->is_over = true;
            r->err = e;
        }
    }
    *ret = (struct rpc_event){ .kind = RPC_OVER, .err = r->err };
    return 0;
}
