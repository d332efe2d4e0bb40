/* Cap'n Proto as it comes, read by somebody who knows no schema: every pointer as everything that
 * it may be. What is read is bounded by the frame, whatever the pointers say. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/capnp.h"

#define CHILDREN_MAX 8
#define STEPS_MAX    4000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct capnp_message message;
static size_t read_bytes, steps;
static volatile uint8_t sink;

static void touch(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        sink = (uint8_t)(sink ^ s.p[i]);
    read_bytes += s.n;
}

static void walk(const struct capnp_struct *s)
{
    if (++steps > STEPS_MAX || message.err < 0)
        return;
    for (uint32_t at = 0; at < s->data_bytes + 8 && at < 256; at += 3)
        sink = (uint8_t)(sink ^ (uint8_t)capnp_u64(s, at) ^ capnp_u8(s, at));
    for (uint16_t i = 0; i < s->pointer_count && i < CHILDREN_MAX; i++) {
        uint32_t index;
        uint64_t word = 0;
        for (unsigned k = 0; k < 8; k++)
            word |= (uint64_t)s->pointers[8 * (size_t)i + k] << (8 * k);
        /* What it says it is; of a far pointer, where it leads to decides. */
        bool is_far = (word & 3) == 2;
        if ((word & 3) == 3)
            (void)capnp_cap(s, i, &index);
        if ((word & 3) == 0 || (is_far && (word >> 3 & 1) != 0)) {
            struct capnp_struct child = capnp_get(s, i);
            walk(&child);
        } else if ((word & 3) == 1 && ((word >> 32) & 7) == 2) {
            touch((word & 8) != 0 ? capnp_text(s, i) : capnp_data(s, i));
        } else {
            struct capnp_list l = capnp_list(s, i);
            for (uint32_t k = 0; k < l.count && k < CHILDREN_MAX; k++) {
                struct capnp_struct item = capnp_item(&l, k);
                walk(&item);
                if (l.is_pointers)
                    touch(capnp_item_text(&l, k));
            }
            struct capnp_struct last = capnp_item(&l, l.count - 1);
            walk(&last);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capnp_struct root;
    size_t total;
    int r = capnp_frame(slice_of(data, size), &total);
    read_bytes = steps = 0;
    if (r < 0 || total > size) {
        if (r == 0 && capnp_open(&message, slice_of(data, size), &root) != ERR_PARSE)
            abort();
        return 0;
    }
    if (capnp_open(&message, slice_of(data, total), &root) == 0)
        walk(&root);
    if (read_bytes > 8 * total + 512)
        abort();
    return 0;
}
