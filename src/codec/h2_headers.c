#include "codec/h2_headers.h"

#include "base/err.h"
#include "base/text.h"

bool h2_headers_is_control(struct slice name)
{
    return slice_starts(name, SLICE(":")) || slice_starts(name, SLICE("cf-int-")) ||
           slice_starts(name, SLICE("cf-cloudflared-")) || slice_starts(name, SLICE("cf-proxy-"));
}

/* ---- written ---- */

/* Characters of n bytes without padding. */
static size_t text_bytes(size_t n)
{
    return n / 3 * 4 + (n % 3 > 0 ? n % 3 + 1 : 0);
}

size_t h2_headers_pair_bytes(struct slice name, struct slice value)
{
    return text_bytes(name.n) + text_bytes(value.n) + 2;
}

/* Three bytes a time, so that no NUL of the encoder lands behind the end. */
static void put_text(char *block, size_t *n, struct slice s)
{
    for (size_t at = 0; at < s.n; at += 3) {
        char four[BASE64_BYTES(3)];
        size_t count = base64_encode(slice_sub(s, at, 3), BASE64_STD, false, four);
        memcpy(block + *n, four, count);
        *n += count;
    }
}

int h2_headers_put(char *block, size_t max, size_t *n, struct slice name, struct slice value)
{
    size_t bytes = h2_headers_pair_bytes(name, value) - (*n == 0 ? 1 : 0);
    if (*n > max || bytes > max - *n)
        return ERR_LIMIT;
    if (*n > 0)
        block[(*n)++] = ';';
    put_text(block, n, name);
    block[(*n)++] = ':';
    put_text(block, n, value);
    return 0;
}

/* ---- read ---- */

static int take(struct h2_headers_reader *r, struct slice text, struct slice *ret)
{
    size_t n;
    int e = base64_decode(text, BASE64_STD, false, false, r->space, &n);
    if (e < 0)
        return e;
    *ret = slice_of(r->space, n);
    r->space += n;
    return 0;
}

int h2_headers_next(struct h2_headers_reader *r, struct slice *ret_name, struct slice *ret_value)
{
    struct slice pair = { 0 };
    while (pair.n == 0) {
        if (r->rest.n == 0)
            return ERR_EOF;
        size_t end = slice_find(r->rest, ';');
        pair = slice_sub(r->rest, 0, end);
        r->rest = slice_sub(r->rest, end + 1, SIZE_MAX);
    }
    size_t colon = slice_find(pair, ':');
    struct slice value = slice_sub(pair, colon + 1, SIZE_MAX);
    if (colon == pair.n)
        return ERR_PARSE;
    /* A second colon is none of the alphabet. */
    int e = take(r, slice_sub(pair, 0, colon), ret_name);
    return e < 0 ? e : take(r, value, ret_value);
}
