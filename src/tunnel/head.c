#include "tunnel/head.h"

#include "base/err.h"

static const uint8_t DATA_PREAMBLE[HEAD_PREAMBLE_BYTES] = { 0x0a, 0x36, 0xcd, 0x12,
                                                            0xa1, 0x3e, '0',  '1' };
const uint8_t HEAD_RPC_SIGNATURE[HEAD_RPC_BYTES] = { 0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65 };

int head_kind_of(struct slice bytes, enum head_kind *ret)
{
    size_t n = bytes.n < HEAD_RPC_BYTES ? bytes.n : HEAD_RPC_BYTES;
    bool may_be_data = slice_eq(slice_of(DATA_PREAMBLE, n), slice_of(bytes.p, n));
    bool may_be_rpc = slice_eq(slice_of(HEAD_RPC_SIGNATURE, n), slice_of(bytes.p, n));
    if (!may_be_data && !may_be_rpc)
        return ERR_PROTO;
    if (n < HEAD_RPC_BYTES || (may_be_data && bytes.n < HEAD_PREAMBLE_BYTES))
        return ERR_AGAIN;
    *ret = may_be_data ? HEAD_DATA : HEAD_RPC;
    return 0;
}

int head_size(struct slice bytes, size_t *ret)
{
    enum head_kind kind;
    size_t frame;
    int r = head_kind_of(bytes, &kind);
    if (r < 0)
        return r;
    if (kind != HEAD_DATA)
        return ERR_PROTO;
    r = capnp_frame(slice_sub(bytes, HEAD_PREAMBLE_BYTES, SIZE_MAX), &frame);
    if (r < 0)
        return r;
    if (frame > TUNNEL_HEAD_BYTES_MAX)
        return ERR_LIMIT;
    *ret = HEAD_PREAMBLE_BYTES + frame;
    return 0;
}

static int take_metadata(const struct capnp_struct *root, uint16_t pointer,
                         struct connect_head *ret)
{
    struct capnp_list list = capnp_list(root, pointer);
    if (list.count > ret->max)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < list.count; i++) {
        struct capnp_struct item = capnp_item(&list, i);
        ret->items[i] =
            (struct metadata){ .key = capnp_text(&item, 0), .value = capnp_text(&item, 1) };
    }
    ret->count = list.count;
    return root->msg->err;
}

/* Opens the frame behind a whole preamble. */
static int open_frame(struct capnp_message *msg, struct slice bytes, struct capnp_struct *ret_root)
{
    size_t size;
    int r = head_size(bytes, &size);
    if (r == 0)
        r = size == bytes.n
                ? capnp_open(msg, slice_sub(bytes, HEAD_PREAMBLE_BYTES, SIZE_MAX), ret_root)
                : ERR_PARSE;
    return r == ERR_AGAIN ? ERR_PARSE : r;
}

int head_decode_request(struct slice bytes, struct connect_head *ret)
{
    struct capnp_message msg;
    struct capnp_struct root;
    int r = open_frame(&msg, bytes, &root);
    if (r < 0)
        return r;
    uint16_t type = capnp_u16(&root, 0);
    ret->dest = capnp_text(&root, 0);
    r = take_metadata(&root, 1, ret);
    if (r < 0)
        return r;
    if (type > CONNECT_TCP)
        return ERR_UNSUPPORTED;
    ret->type = (enum connect_type)type;
    return 0;
}

int head_decode_response(struct slice bytes, struct connect_head *ret)
{
    struct capnp_message msg;
    struct capnp_struct root;
    int r = open_frame(&msg, bytes, &root);
    if (r < 0)
        return r;
    ret->error = capnp_text(&root, 0);
    return take_metadata(&root, 1, ret);
}

static int put_frame(struct buf *out, struct capnp_builder *b, const struct connect_head *head,
                     struct capnp_ref root)
{
    struct capnp_ref list = capnp_put_list(b, root, 1, (uint32_t)head->count, 0, 2);
    for (uint32_t i = 0; i < head->count; i++) {
        struct capnp_ref item = capnp_put_item(list, i);
        capnp_put_text(b, item, 0, head->items[i].key);
        capnp_put_text(b, item, 1, head->items[i].value);
    }
    struct slice frame = capnp_finish(b);
    int r = b->err;
    if (r == 0)
        r = frame.n + HEAD_PREAMBLE_BYTES <= buf_room(out) ? 0 : ERR_LIMIT;
    if (r == 0)
        r = buf_put(out, slice_of(DATA_PREAMBLE, sizeof DATA_PREAMBLE));
    if (r == 0)
        r = buf_put(out, frame);
    capnp_builder_done(b);
    return r;
}

int head_encode_request(struct buf *out, const struct connect_head *head)
{
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 1, 2);
    capnp_put_u16(&b, root, 0, (uint16_t)head->type);
    capnp_put_text(&b, root, 0, head->dest);
    return put_frame(out, &b, head, root);
}

int head_encode_response(struct buf *out, const struct connect_head *head)
{
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 0, 2);
    capnp_put_text(&b, root, 0, head->error);
    return put_frame(out, &b, head, root);
}
