#pragma once
/* Encodings of bytes as text: hexadecimal, base64, UUID. Pure. */
#include <stdint.h>

#include "base/slice.h"

struct uuid {
    uint8_t bytes[16];
};

#define UUID_TEXT_BYTES 37
#define HEX_BYTES(n)    ((n)*2 + 1)
#define BASE64_BYTES(n) (((n) + 2) / 3 * 4 + 1)

#define U64_TEXT_BYTES 21

/* Decimal, NUL-terminated. Returns the length without NUL. What a request needs is not printed with
 * printf, which costs a thousand instructions each time. */
size_t u64_text(uint64_t value, char text[static U64_TEXT_BYTES]);

/* Lower case, NUL-terminated; `text` has HEX_BYTES(s.n). Returns text. */
char *hex_encode(struct slice s, char *text);
/* Either case; exactly 2 digits a byte; `out` has text.n / 2 bytes. 0 or ERR_PARSE. */
int hex_decode(struct slice text, uint8_t *out);

enum base64_kind { BASE64_STD, BASE64_URL }; /* RFC 4648 §4 and §5 */

/* NUL-terminated; `text` has BASE64_BYTES(s.n). Returns the length without NUL. */
size_t base64_encode(struct slice s, enum base64_kind kind, bool padding, char *text);
/* `padding` true demands the canonical padding, false forbids it; CR and LF are skipped when
 * `breaks`. Non-zero bits after the last byte are accepted. `out` has text.n / 4 * 3 + 3 bytes. 0
 * or ERR_PARSE; *ret is the number of bytes. */
int base64_decode(struct slice text, enum base64_kind kind, bool padding, bool breaks, uint8_t *out,
                  size_t *ret);

/* Lower case with dashes. Returns text. */
char *uuid_text(const struct uuid *id, char text[static UUID_TEXT_BYTES]);
/* 8-4-4-4-12 in either case; also without dashes, and in braces. 0 or ERR_PARSE. */
int uuid_parse(struct slice text, struct uuid *ret);
static inline bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
