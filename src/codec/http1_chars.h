#pragma once
/* Classes of bytes for the HTTP/1.1 codec's own files. */
#include <stdint.h>

#define CH_TOKEN  0x01 /* RFC 9110 §5.6.2 */
#define CH_VALUE  0x02 /* VCHAR, obs-text, SP, HTAB: RFC 9110 §5.5 */
#define CH_TARGET 0x04 /* visible ASCII but '#' */
#define CH_HOST   0x08 /* unreserved of RFC 3986 §2.3 */
#define CH_HEX    0x10

extern const uint8_t HTTP1_CHARS[256];

static inline bool http1_char_is(uint8_t c, uint8_t class)
{
    return (HTTP1_CHARS[c] & class) != 0;
}

/* Value of a CH_HEX digit. */
static inline unsigned http1_hex_value(uint8_t c)
{
    return c <= '9' ? (unsigned)c - '0' : ((unsigned)c | 0x20) - 'a' + 10;
}
