#include "base/err.h"
#include "codec/capnp.h"

#define WORD          8
#define BUDGET_FACTOR 8

/* ---- little endian, at any alignment ---- */

static uint64_t load(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* ---- framing ---- */

int capnp_frame(struct slice bytes, size_t *ret_bytes)
{
    if (bytes.n < 4)
        return ERR_AGAIN;
    uint64_t count = load(bytes.p, 4) + 1;
    if (count > CAPNP_SEGMENTS_MAX)
        return ERR_LIMIT;
    size_t header = (4 + 4 * (size_t)count + 7) & ~(size_t)7;
    if (bytes.n < header)
        return ERR_AGAIN;
    uint64_t total = header;
    for (size_t i = 0; i < count; i++) {
        uint64_t words = load(bytes.p + 4 + 4 * i, 4);
        if (words > CAPNP_MESSAGE_BYTES_MAX / WORD)
            return ERR_LIMIT;
        if (i == 0 && words == 0)
            return ERR_PARSE;
        total += words * WORD;
    }
    if (total > CAPNP_MESSAGE_BYTES_MAX)
        return ERR_LIMIT;
    *ret_bytes = (size_t)total;
    return 0;
}

/* ---- pointers ---- */

static void fail(struct capnp_message *m, int err)
{
    if (m->err == 0)
        m->err = err;
}

/* `words` of a segment from `at` on, or NULL; they count against the budget. */
static const uint8_t *take(struct capnp_message *m, uint32_t segment, int64_t at, uint64_t words)
{
    if (m->err < 0)
        return NULL;
    if (segment >= m->count || at < 0 || (uint64_t)at > m->segments[segment].n / WORD ||
        words > m->segments[segment].n / WORD - (uint64_t)at) {
        fail(m, ERR_PARSE);
        return NULL;
    }
    uint64_t cost = words > 0 ? words : 1;
    if (cost > m->budget) {
        fail(m, ERR_LIMIT);
        return NULL;
    }
    m->budget -= cost;
    return m->segments[segment].p + (size_t)at * WORD;
}

/* A pointer with far ones followed: the word that says what it is, and where its content begins. */
struct target {
    uint64_t word; /* 0 = null */
    uint32_t segment;
    int64_t at;
};

static int64_t offset_of(uint64_t word)
{
    return (int64_t)(int32_t)(uint32_t)word >> 2;
}

static struct target follow_far(struct capnp_message *m, uint64_t word)
{
    struct target none = { 0 };
    uint32_t segment = (uint32_t)(word >> 32);
    int64_t at = (int64_t)((uint32_t)word >> 3);
    bool is_double = (word & 4) != 0;
    const uint8_t *pad = take(m, segment, at, is_double ? 2 : 1);
    if (pad == NULL)
        return none;
    uint64_t landing = load(pad, WORD);
    if (!is_double) {
        if ((landing & 3) == 2) {
            fail(m, ERR_PARSE);
            return none;
        }
        return (struct target){ .word = landing,
                                .segment = segment,
                                .at = at + 1 + offset_of(landing) };
    }
    uint64_t tag = load(pad + WORD, WORD);
    if ((landing & 7) != 2 || (tag & 0xfffffffe) != 0) { /* the tag has a kind and no offset */
        fail(m, ERR_PARSE);
        return none;
    }
    return (struct target){ .word = tag,
                            .segment = (uint32_t)(landing >> 32),
                            .at = (int64_t)((uint32_t)landing >> 3) };
}

static struct target target_of(const struct capnp_struct *s, uint16_t pointer)
{
    struct target none = { 0 };
    if (s->pointers == NULL || pointer >= s->pointer_count || s->msg->err < 0)
        return none;
    if (s->depth >= CAPNP_DEPTH_MAX) {
        fail(s->msg, ERR_LIMIT);
        return none;
    }
    const uint8_t *p = s->pointers + (size_t)pointer * WORD;
    uint64_t word = load(p, WORD);
    if (word == 0)
        return none;
    if ((word & 3) == 2)
        return follow_far(s->msg, word);
    int64_t here = (p - s->msg->segments[s->segment].p) / WORD;
    return (struct target){ .word = word, .segment = s->segment, .at = here + 1 + offset_of(word) };
}

static struct capnp_struct struct_at(struct capnp_message *m, uint32_t segment, int64_t at,
                                     uint64_t word, unsigned depth)
{
    struct capnp_struct s = { .msg = m, .depth = depth };
    uint32_t data = (uint32_t)(word >> 32) & 0xffff, pointers = (uint32_t)(word >> 48);
    const uint8_t *p = take(m, segment, at, data + pointers);
    if (p == NULL)
        return s;
    s.data = p;
    s.data_bytes = data * WORD;
    s.pointers = p + s.data_bytes;
    s.pointer_count = (uint16_t)pointers;
    s.segment = segment;
    return s;
}

int capnp_open(struct capnp_message *m, struct slice frame, struct capnp_struct *ret_root)
{
    size_t total;
    int r = capnp_frame(frame, &total);
    if (r < 0 || total != frame.n)
        return r == 0 || r == ERR_AGAIN ? ERR_PARSE : r;
    m->count = (uint32_t)load(frame.p, 4) + 1;
    m->err = 0;
    m->budget = frame.n / WORD * BUDGET_FACTOR + 64;
    const uint8_t *p = frame.p + ((4 + 4 * (size_t)m->count + 7) & ~(size_t)7);
    for (uint32_t i = 0; i < m->count; i++) {
        m->segments[i] = slice_of(p, (size_t)load(frame.p + 4 + 4 * (size_t)i, 4) * WORD);
        p += m->segments[i].n;
    }
    struct capnp_struct holder = { .msg = m, .pointers = m->segments[0].p, .pointer_count = 1 };
    *ret_root = capnp_get(&holder, 0);
    return m->err;
}

/* ---- fields ---- */

static uint64_t field(const struct capnp_struct *s, uint32_t at, unsigned bytes)
{
    bool is_there = s->data != NULL && bytes <= s->data_bytes && at <= s->data_bytes - bytes;
    return is_there ? load(s->data + at, bytes) : 0;
}

uint8_t capnp_u8(const struct capnp_struct *s, uint32_t at)
{
    return (uint8_t)field(s, at, 1);
}

uint16_t capnp_u16(const struct capnp_struct *s, uint32_t at)
{
    return (uint16_t)field(s, at, 2);
}

uint32_t capnp_u32(const struct capnp_struct *s, uint32_t at)
{
    return (uint32_t)field(s, at, 4);
}

uint64_t capnp_u64(const struct capnp_struct *s, uint32_t at)
{
    return field(s, at, 8);
}

bool capnp_bool(const struct capnp_struct *s, uint32_t bit)
{
    return (capnp_u8(s, bit / 8) >> (bit % 8) & 1) != 0;
}

bool capnp_has(const struct capnp_struct *s, uint16_t pointer)
{
    return s->pointers != NULL && pointer < s->pointer_count &&
           load(s->pointers + (size_t)pointer * WORD, WORD) != 0;
}

struct capnp_struct capnp_get(const struct capnp_struct *s, uint16_t pointer)
{
    struct capnp_struct none = { .msg = s->msg, .depth = s->depth + 1 };
    struct target t = target_of(s, pointer);
    if (t.word == 0)
        return none;
    if ((t.word & 3) != 0) {
        fail(s->msg, ERR_PARSE);
        return none;
    }
    return struct_at(s->msg, t.segment, t.at, t.word, s->depth + 1);
}

/* A list of bytes. */
static struct slice bytes_of(const struct capnp_struct *s, uint16_t pointer)
{
    struct slice none = { 0 };
    struct target t = target_of(s, pointer);
    if (t.word == 0)
        return none;
    uint64_t count = t.word >> 35;
    if ((t.word & 3) != 1 || ((t.word >> 32) & 7) != 2) {
        fail(s->msg, ERR_PARSE);
        return none;
    }
    const uint8_t *p = take(s->msg, t.segment, t.at, (count + 7) / WORD);
    return p != NULL ? slice_of(p, (size_t)count) : none;
}

struct slice capnp_data(const struct capnp_struct *s, uint16_t pointer)
{
    return bytes_of(s, pointer);
}

struct slice capnp_text(const struct capnp_struct *s, uint16_t pointer)
{
    struct slice bytes = bytes_of(s, pointer);
    if (bytes.p == NULL)
        return bytes;
    if (bytes.n == 0 || bytes.p[bytes.n - 1] != 0) {
        fail(s->msg, ERR_PARSE);
        return (struct slice){ 0 };
    }
    return slice_of(bytes.p, bytes.n - 1);
}

static struct capnp_list composite(const struct capnp_struct *s, struct target t)
{
    struct capnp_list none = { .first = { .msg = s->msg } };
    uint64_t words = t.word >> 35;
    const uint8_t *p = take(s->msg, t.segment, t.at, words + 1);
    if (p == NULL)
        return none;
    uint64_t tag = load(p, WORD);
    uint32_t count = (uint32_t)tag >> 2, data = (uint32_t)(tag >> 32) & 0xffff,
             pointers = (uint32_t)(tag >> 48);
    uint64_t each = (uint64_t)data + pointers;
    /* Elements of no size cost nothing on the wire: they are counted here. */
    uint64_t cost = each > 0 ? 0 : count;
    if ((tag & 3) != 0 || each * count > words || cost > s->msg->budget) {
        fail(s->msg, (tag & 3) != 0 || each * count > words ? ERR_PARSE : ERR_LIMIT);
        return none;
    }
    s->msg->budget -= cost;
    return (struct capnp_list){
        .first = { .msg = s->msg,
                   .data = p + WORD,
                   .pointers = p + WORD + data * WORD,
                   .data_bytes = data * WORD,
                   .pointer_count = (uint16_t)pointers,
                   .segment = t.segment,
                   .depth = s->depth + 1 },
        .count = count,
        .step = (data + pointers) * WORD,
    };
}

struct capnp_list capnp_list(const struct capnp_struct *s, uint16_t pointer)
{
    static const uint8_t STEPS[] = { 0, 0, 1, 2, 4, 8, 8 };
    struct capnp_list none = { .first = { .msg = s->msg } };
    struct target t = target_of(s, pointer);
    if (t.word == 0)
        return none;
    unsigned size = (unsigned)(t.word >> 32) & 7;
    uint64_t count = t.word >> 35;
    if ((t.word & 3) != 1) {
        fail(s->msg, ERR_PARSE);
        return none;
    }
    if (size == 7)
        return composite(s, t);
    if (size == 1) { /* a list of bits cannot be read as structs */
        fail(s->msg, ERR_PARSE);
        return none;
    }
    uint64_t words = (count * STEPS[size] + 7) / WORD;
    const uint8_t *p = take(s->msg, t.segment, t.at, words);
    if (p == NULL || (size == 0 && count > s->msg->budget)) {
        fail(s->msg, ERR_LIMIT);
        return none;
    }
    if (size == 0)
        s->msg->budget -= count;
    return (struct capnp_list){
        .first = { .msg = s->msg,
                   .data = p,
                   .pointers = size == 6 ? p : NULL,
                   .data_bytes = size == 6 ? 0 : STEPS[size],
                   .pointer_count = size == 6,
                   .segment = t.segment,
                   .depth = s->depth + 1 },
        .count = (uint32_t)count,
        .step = STEPS[size],
        .is_pointers = size == 6,
    };
}

struct capnp_struct capnp_item(const struct capnp_list *l, uint32_t index)
{
    struct capnp_struct s = l->first;
    if (index >= l->count || s.data == NULL)
        return (struct capnp_struct){ .msg = l->first.msg, .depth = l->first.depth };
    s.data += (size_t)index * l->step;
    if (s.pointers != NULL)
        s.pointers += (size_t)index * l->step;
    return s;
}

struct slice capnp_item_text(const struct capnp_list *l, uint32_t index)
{
    struct capnp_struct s = capnp_item(l, index);
    return capnp_text(&s, 0);
}

int capnp_cap(const struct capnp_struct *s, uint16_t pointer, uint32_t *ret)
{
    struct target t = target_of(s, pointer);
    if (t.word == 0 || (t.word & 3) != 3 || (t.word & 0xfffffffc) != 0)
        return ERR_PARSE;
    *ret = (uint32_t)(t.word >> 32);
    return 0;
}
