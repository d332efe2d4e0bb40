#pragma once
/* Cap'n Proto messages in their unpacked stream framing (docs/protocol.md §4): a bounded reader
 * over one contiguous frame, and a builder of single-segment messages. Pure; any thread.
 *
 * Reading: errors stick in the message, and a field that cannot be read has its default: read
 * everything, then test msg.err once. Views point into the frame. Every dereference counts against
 * a budget of the frame's own size times eight (an amplifying message names the same bytes again
 * and again) and against CAPNP_DEPTH_MAX. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/slice.h"

/* Bytes of the frame that starts here, header included: 0 with *ret_bytes; ERR_AGAIN when the
 * header is not whole; ERR_LIMIT past the bounds of base/limits.h; ERR_PARSE for an empty first
 * segment. */
int capnp_frame(struct slice bytes, size_t *ret_bytes) __attribute__((warn_unused_result));

struct capnp_message {
    struct slice segments[CAPNP_SEGMENTS_MAX];
    uint32_t count;
    uint64_t budget; /* words that may yet be read */
    int err;         /* 0 or ERR_PARSE, ERR_LIMIT; the first one stays */
};

struct capnp_struct {
    struct capnp_message *msg;
    const uint8_t *data, *pointers; /* NULL when all is default */
    uint32_t data_bytes;
    uint16_t pointer_count;
    uint32_t segment;
    unsigned depth;
};

struct capnp_list {
    struct capnp_struct first; /* element 0; the others follow at `step` */
    uint32_t count, step;      /* elements, bytes from one to the next */
    bool is_pointers;
};

/* `frame` is one whole frame. *ret_root is the root struct (all default when the root pointer is
 * null: *ret_root.data and .pointers are NULL). 0 or ERR_PARSE. */
int capnp_open(struct capnp_message *msg, struct slice frame, struct capnp_struct *ret_root)
    __attribute__((warn_unused_result));

/* Fields of the data section: default 0 beyond what was sent. `at` in bytes (bits for capnp_bool).
 */
uint8_t capnp_u8(const struct capnp_struct *s, uint32_t at);
uint16_t capnp_u16(const struct capnp_struct *s, uint32_t at);
uint32_t capnp_u32(const struct capnp_struct *s, uint32_t at);
uint64_t capnp_u64(const struct capnp_struct *s, uint32_t at);
bool capnp_bool(const struct capnp_struct *s, uint32_t bit);

bool capnp_has(const struct capnp_struct *s, uint16_t pointer);
struct capnp_struct capnp_get(const struct capnp_struct *s, uint16_t pointer);
/* Text must end with a NUL, which the view does not count; Data is bytes. */
struct slice capnp_text(const struct capnp_struct *s, uint16_t pointer);
struct slice capnp_data(const struct capnp_struct *s, uint16_t pointer);
/* A list of structs, or of pointers (texts). */
struct capnp_list capnp_list(const struct capnp_struct *s, uint16_t pointer);
struct capnp_struct capnp_item(const struct capnp_list *l, uint32_t index);
struct slice capnp_item_text(const struct capnp_list *l, uint32_t index);
/* 0 with the index into the capability table when the pointer is a capability, else ERR_PARSE. */
int capnp_cap(const struct capnp_struct *s, uint16_t pointer, uint32_t *ret);

/* ---- building ---- */

struct capnp_builder {
    uint8_t *p;         /* from malloc; 8 bytes of frame header first */
    size_t n, cap, max; /* bytes */
    int err;            /* 0, ERR_LIMIT, ERR_NOMEM: sticks */
};

/* A struct under construction: where its data section begins, in bytes from b->p. */
struct capnp_ref {
    size_t at;
    uint16_t data_words, pointers;
};

/* Starts a message with its root struct. */
struct capnp_ref capnp_build(struct capnp_builder *b, uint16_t data_words, uint16_t pointers);
/* The frame; empty when an error stuck. Valid until the builder is touched. */
struct slice capnp_finish(struct capnp_builder *b);
void capnp_builder_done(struct capnp_builder *b);

void capnp_put_u8(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint8_t v);
void capnp_put_u16(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint16_t v);
void capnp_put_u32(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint32_t v);
void capnp_put_u64(struct capnp_builder *b, struct capnp_ref s, uint32_t at, uint64_t v);
void capnp_put_bool(struct capnp_builder *b, struct capnp_ref s, uint32_t bit, bool v);
/* Empty texts and data are null pointers. */
void capnp_put_text(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                    struct slice text);
void capnp_put_data(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                    struct slice bytes);
void capnp_put_cap(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer, uint32_t index);
struct capnp_ref capnp_put(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                           uint16_t data_words, uint16_t pointers);
/* A list of `count` structs; its elements by capnp_put_item. An empty one is a null pointer. */
struct capnp_ref capnp_put_list(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                                uint32_t count, uint16_t data_words, uint16_t pointers);
struct capnp_ref capnp_put_item(struct capnp_ref list, uint32_t index);
/* A list of texts. */
void capnp_put_texts(struct capnp_builder *b, struct capnp_ref s, uint16_t pointer,
                     const struct slice *texts, uint32_t count);
