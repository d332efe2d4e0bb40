#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/secret.h"
#include "codec/capnp.h"

#define WORD      8
#define HEADER    8
#define CAP_FIRST 1024

static void store(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* `words` words at the end, with whatever is there; where they begin, in bytes from b->p. 0 on
 * failure. */
static size_t extend_raw(struct capnp_builder *b, size_t words)
{
    size_t n = words * WORD, at = b->n;
    if (b->err < 0)
        return 0;
    if (n > b->max - b->n) {
        b->err = ERR_LIMIT;
        return 0;
    }
    if (b->n + n > b->cap) {
        size_t cap = b->cap > 0 ? b->cap : CAP_FIRST;
        while (cap < b->n + n)
            cap *= 2;
        uint8_t *p = secret_grow(b->p, b->n, cap);
        if (p == NULL) {
            b->err = ERR_NOMEM;
            return 0;
        }
        b->p = p;
        b->cap = cap;
    }
    b->n += n;
    return at;
}

/* The same, zeroed. */
static size_t extend(struct capnp_builder *b, size_t words)
{
    size_t at = extend_raw(b, words);
    if (at > 0 || b->err == 0)
        memset(b->p + at, 0, words * WORD);
    return at;
}

static size_t pointer_at(struct capnp_ref s, uint32_t pointer)
{
    assert(pointer < s.pointers);
    return s.at + (size_t)s.data_words * WORD + (size_t)pointer * WORD;
}

static uint64_t offset_bits(size_t from, size_t to)
{
    int64_t words = ((int64_t)to - (int64_t)from - WORD) / WORD;
    return (uint64_t)(uint32_t)((uint32_t)words << 2);
}

struct capnp_ref capnp_build(struct capnp_builder *b, uint16_t data_words, uint16_t pointers)
{
    *b = (struct capnp_builder){ .max = CAPNP_MESSAGE_BYTES_MAX };
    (void)extend(b, 1); /* the frame's header */
    size_t root = extend(b, 1);
    struct capnp_ref holder = { .at = root, .pointers = 1 };
    return capnp_put(b, holder, 0, data_words, pointers);
}

struct slice capnp_finish(struct capnp_builder *b)
{
    if (b->err < 0)
        return (struct slice){ 0 };
    store(b->p, 0, 4);
    store(b->p + 4, (b->n - HEADER) / WORD, 4);
    return slice_of(b->p, b->n);
}

void capnp_builder_done(struct capnp_builder *b)
{
    secret_free(b->p, b->n); /* a registration has the tunnel's secret */
    *b = (struct capnp_builder){ 0 };
}

static void put(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint64_t v,
                unsigned bytes)
{
    if (b->err == 0 && (uint64_t)at + bytes <= (uint64_t)s.data_words * WORD)
        store(b->p + s.at + at, v, bytes);
}

void capnp_put_u8(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint8_t v)
{
    put(b, s, at, v, 1);
}

void capnp_put_u16(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint16_t v)
{
    put(b, s, at, v, 2);
}

void capnp_put_u32(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint32_t v)
{
    put(b, s, at, v, 4);
}

void capnp_put_u64(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint64_t v)
{
    put(b, s, at, v, 8);
}

void capnp_put_bool(struct capnp_builder *b, struct capnp_ref s, uint32_t bit, bool v)
{
    if (b->err == 0 && v && bit / 8 < (uint32_t)s.data_words * WORD)
        b->p[s.at + bit / 8] |= (uint8_t)(1U << (bit % 8));
}

static void put_bytes(struct capnp_builder *b, size_t from, struct slice bytes, size_t nul)
{
    size_t n = bytes.n + nul, words = (n + WORD - 1) / WORD, at = extend_raw(b, words);
    if (at == 0)
        return;
    memset(b->p + at + (words - 1) * WORD, 0, WORD); /* what the bytes leave of their last word */
    memcpy(b->p + at, bytes.p, bytes.n);
    store(b->p + from, offset_bits(from, at) | 1 | (uint64_t)2 << 32 | (uint64_t)n << 35, WORD);
}

void capnp_put_text(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                    struct slice text)
{
    if (b->err == 0 && text.n > 0)
        put_bytes(b, pointer_at(s, pointer), text, 1);
}

void capnp_put_data(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                    struct slice bytes)
{
    if (b->err == 0 && bytes.n > 0)
        put_bytes(b, pointer_at(s, pointer), bytes, 0);
}

void capnp_put_cap(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer, uint32_t index)
{
    if (b->err == 0)
        store(b->p + pointer_at(s, pointer), 3 | (uint64_t)index << 32, WORD);
}

struct capnp_ref capnp_put(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                           uint16_t data_words, uint16_t pointers)
{
    struct capnp_ref ref = { .data_words = data_words, .pointers = pointers };
    if (b->err < 0)
        return ref;
    size_t from = pointer_at(s, pointer);
    uint64_t sizes = (uint64_t)data_words << 32 | (uint64_t)pointers << 48;
    if (data_words + pointers ==
        0) { /* a struct of no size points before itself, so that it is not null */
        ref.at = from;
        store(b->p + from, 0xfffffffc | sizes, WORD);
        return ref;
    }
    ref.at = extend(b, (size_t)data_words + pointers);
    if (ref.at > 0)
        store(b->p + from, offset_bits(from, ref.at) | sizes, WORD);
    return ref;
}

struct capnp_ref capnp_put_list(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                                uint32_t count, uint16_t data_words, uint16_t pointers)
{
    struct capnp_ref ref = { .data_words = data_words, .pointers = pointers };
    size_t words = ((size_t)data_words + pointers) * count;
    if (b->err < 0 || count == 0)
        return ref;
    size_t from = pointer_at(s, pointer), at = extend(b, words + 1);
    if (at == 0)
        return ref;
    store(b->p + from, offset_bits(from, at) | 1 | (uint64_t)7 << 32 | (uint64_t)words << 35, WORD);
    store(b->p + at, (uint64_t)count << 2 | (uint64_t)data_words << 32 | (uint64_t)pointers << 48,
          WORD);
    ref.at = at + WORD;
    return ref;
}

struct capnp_ref capnp_put_item(struct capnp_ref list, uint32_t index)
{
    list.at += ((size_t)list.data_words + list.pointers) * WORD * index;
    return list;
}

void capnp_put_texts(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                     const struct slice *texts, uint32_t count)
{
    if (b->err < 0 || count == 0)
        return;
    size_t from = pointer_at(s, pointer), at = extend(b, count);
    if (at == 0)
        return;
    store(b->p + from, offset_bits(from, at) | 1 | (uint64_t)6 << 32 | (uint64_t)count << 35, WORD);
    for (uint32_t i = 0; i < count && b->err == 0; i++)
        if (texts[i].n > 0)
            put_bytes(b, at + (size_t)i * WORD, texts[i], 1);
}
