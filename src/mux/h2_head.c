#include <stdlib.h>

#include "base/err.h"
#include "mux/h2_int.h"

#define FIELDS_LEAST    16
#define FIELD_OVERHEAD  32 /* what RFC 9113 §6.5.2 counts for each field */
#define NV_PSEUDO_COUNT 6

/* The callbacks hold the connection's limit of a header list; this one is behind it: twice the
 * limit, the field that passes it, and the array. */
struct h2_head *h2_head_new(size_t bytes_max)
{
    struct h2_head *h = calloc(1, sizeof *h);
    if (h != NULL)
        arena_init(&h->arena, 2 * bytes_max + 4 * H2_FIELD_BYTES_MAX);
    return h;
}

void h2_head_free(struct h2_head *h)
{
    if (h == NULL)
        return;
    arena_done(&h->arena);
    free(h);
}

/* ---- received ---- */

static int grow(struct h2_head *h)
{
    size_t cap = h->cap > 0 ? h->cap * 2 : FIELDS_LEAST;
    struct h2_field *fields = arena_alloc(&h->arena, cap * sizeof *fields);
    if (fields == NULL)
        return ERR_NOMEM;
    if (h->count > 0)
        memcpy(fields, h->fields, h->count * sizeof *fields);
    h->fields = fields;
    h->cap = cap;
    return 0;
}

static struct slice *pseudo_slot(struct h2_head *h, struct slice name)
{
    if (slice_eq(name, SLICE(":method")))
        return &h->method;
    if (slice_eq(name, SLICE(":scheme")))
        return &h->scheme;
    if (slice_eq(name, SLICE(":authority")))
        return &h->authority;
    if (slice_eq(name, SLICE(":path")))
        return &h->path;
    return slice_eq(name, SLICE(":protocol")) ? &h->protocol : NULL;
}

static int add_pseudo(struct h2_head *h, struct slice name, struct slice value)
{
    uint64_t status;
    if (slice_eq(name, SLICE(":status"))) {
        if (value.n != 3 || slice_u64(value, 999, &status) < 0 || status < 100)
            return ERR_PROTO;
        h->status = (unsigned)status;
        return 0;
    }
    struct slice *slot = pseudo_slot(h, name);
    if (slot == NULL)
        return ERR_PROTO;
    *slot = arena_copy(&h->arena, value);
    return slot->p == NULL ? ERR_NOMEM : 0;
}

int h2_head_add(struct h2_head *h, struct slice name, struct slice value, bool is_secret)
{
    h->bytes += name.n + value.n + FIELD_OVERHEAD;
    if (name.n > 0 && name.p[0] == ':')
        return add_pseudo(h, name, value);
    if (h->count >= HEAD_FIELDS_MAX)
        return ERR_LIMIT;
    if (h->count == h->cap) {
        int r = grow(h);
        if (r < 0)
            return r;
    }
    struct h2_field f = { .name = arena_copy(&h->arena, name),
                          .value = arena_copy(&h->arena, value),
                          .is_secret = is_secret };
    if (f.name.p == NULL || f.value.p == NULL)
        return ERR_NOMEM;
    if (slice_eq(name, SLICE("content-length"))) {
        /* nghttp2 has refused a second one and anything but digits. */
        if (slice_u64(value, INT64_MAX, &h->length) < 0)
            return ERR_PROTO;
        h->has_length = true;
    }
    h->fields[h->count++] = f;
    return 0;
}

bool h2_head_is_sound(const struct h2_head *h)
{
    unsigned hosts = 0;
    if (h->is_trailers || h->status != 0)
        return true;
    for (size_t i = 0; i < h->count; i++) {
        if (!slice_eq(h->fields[i].name, SLICE("host")))
            continue;
        /* RFC 9113 §8.3.1: two names for one request are how requests are smuggled. */
        if (hosts++ > 0 ||
            (h->authority.n > 0 && !slice_eq_nocase(h->authority, h->fields[i].value)))
            return false;
    }
    return true;
}

/* ---- to be sent ---- */

struct nv_block {
    nghttp2_nv *nv;
    size_t count;
    uint8_t *names; /* space behind the entries for names in lower case */
};

static void put(struct nv_block *b, struct slice name, struct slice value, bool is_secret)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        b->names[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
    }
    b->nv[b->count++] =
        (nghttp2_nv){ .name = b->names,
                      .namelen = name.n,
                      .value = (uint8_t *)(uintptr_t)value.p,
                      .valuelen = value.n,
                      .flags = is_secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE };
    b->names += name.n;
}

static void put_pseudo(struct nv_block *b, struct slice name, struct slice value)
{
    if (value.n > 0)
        put(b, name, value, false);
}

/* Moves the values into the block too. */
static void copy_values(struct nv_block *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (b->nv[i].valuelen > 0)
            memcpy(b->names, b->nv[i].value, b->nv[i].valuelen);
        b->nv[i].value = b->names;
        b->names += b->nv[i].valuelen;
    }
}

int h2_nv_new(const struct h2_send_head *head, bool copies, nghttp2_nv **ret, size_t *ret_count)
{
    size_t bytes = sizeof ":status:method:scheme:authority:path:protocol" + 3;
    if (head->count > HEAD_FIELDS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < head->count; i++)
        bytes += head->fields[i].name.n + (copies ? head->fields[i].value.n : 0);
    struct nv_block b = { .nv = malloc((head->count + NV_PSEUDO_COUNT) * sizeof *b.nv + bytes) };
    if (b.nv == NULL)
        return ERR_NOMEM;
    b.names = (uint8_t *)(b.nv + head->count + NV_PSEUDO_COUNT);
    if (head->status > 0) {
        uint8_t *digits = b.names;
        for (unsigned i = 0, left = head->status; i < 3; i++, left /= 10)
            digits[2 - i] = (uint8_t)('0' + left % 10);
        b.names += 3;
        put(&b, SLICE(":status"), slice_of(digits, 3), false);
    }
    put_pseudo(&b, SLICE(":method"), head->method);
    put_pseudo(&b, SLICE(":scheme"), head->scheme);
    put_pseudo(&b, SLICE(":authority"), head->authority);
    put_pseudo(&b, SLICE(":path"), head->path);
    put_pseudo(&b, SLICE(":protocol"), head->protocol);
    for (size_t i = 0; i < head->count; i++)
        put(&b, head->fields[i].name, head->fields[i].value, head->fields[i].is_secret);
    if (copies)
        copy_values(&b);
    *ret = b.nv;
    *ret_count = b.count;
    return 0;
}
