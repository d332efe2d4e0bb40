#pragma once
/* One end of an RPC conversation without a stream, for tests. */
#include <jansson.h>

#include "base/text.h"
#include "test.h"
#include "tunnel/registration.h"

static inline json_t *load(const char *file)
{
    char path[512];
    json_error_t e;
    (void)snprintf(path, sizeof path, "%s/%s", VECTORS, file);
    json_t *doc = json_load_file(path, JSON_ALLOW_NUL, &e);
    assert_non_null(doc);
    return doc;
}

struct wire {
    struct chunk_pool *pool;
    struct buf in, out;
    struct rpc *rpc;
};

static inline void wire_open(struct wire *w)
{
    w->pool = chunk_pool_new();
    buf_init(&w->in, w->pool, 1 << 21);
    buf_init(&w->out, w->pool, 1 << 21);
    w->rpc = rpc_new();
}

static inline void wire_close(struct wire *w)
{
    rpc_free(w->rpc);
    buf_done(&w->in);
    buf_done(&w->out);
    chunk_pool_free(w->pool);
}

static inline void put_hex(struct wire *w, const char *hex)
{
    uint8_t *bytes = malloc(strlen(hex) / 2 + 1);
    assert_int_equal(hex_decode(slice_str(hex), bytes), 0);
    assert_int_equal(buf_put(&w->in, slice_of(bytes, strlen(hex) / 2)), 0);
    free(bytes);
}
