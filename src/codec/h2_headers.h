#pragma once
/* The block of header lines that a connector sends in one field of its HTTP/2 responses
 * (cf-cloudflared-response-headers): base64(name) ":" base64(value), joined by ";", without
 * padding. Pure; any thread. */
#include "base/slice.h"

/* Whether a line of the origin stays out of the block: names that the tunnel itself uses. `name` in
 * lower case. */
bool h2_headers_is_control(struct slice name);

/* Bytes that one pair takes in a block, separator included. */
size_t h2_headers_pair_bytes(struct slice name, struct slice value);
/* Appends a pair at *n of `block`, which has `max` bytes. ERR_LIMIT when it does not fit; *n is
 * then as before. */
int h2_headers_put(char *block, size_t max, size_t *n, struct slice name, struct slice value)
    __attribute__((warn_unused_result));

/* Bytes to decode a block of n into. */
#define H2_HEADERS_SPACE(n) ((n) + 4)

struct h2_headers_reader {
    struct slice rest;
    uint8_t *space; /* H2_HEADERS_SPACE(bytes of the block); what was read stays in it */
};

/* The next pair, in the space. 0; ERR_EOF behind the last; ERR_PARSE: a pair without its colon, or
 * with two, or anything but the standard alphabet. Empty pieces between separators are passed over.
 */
int h2_headers_next(struct h2_headers_reader *r, struct slice *ret_name, struct slice *ret_value)
    __attribute__((warn_unused_result));
