/* URLs, host:port and escapes: the parts lie within the text, and put together they are the text.
 */
#include <stdlib.h>

#include "codec/uri.h"

#define BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static size_t add(uint8_t *to, size_t at, struct slice s)
{
    if (s.n > 0)
        memcpy(to + at, s.p, s.n);
    return at + s.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t text[BYTES_MAX + 16];
    struct uri u;
    struct host_port at;
    struct slice s = slice_of(data, size);
    size_t n = 0;
    if (size > BYTES_MAX)
        return 0;
    if (uri_parse(s, &u) == 0) {
        n = add(text, n, u.scheme);
        n = add(text, n, u.has_authority ? SLICE("://") : SLICE(":"));
        n = add(text, n, u.userinfo);
        n = add(text, n, u.has_userinfo ? SLICE("@") : SLICE(""));
        n = add(text, n, u.authority);
        n = add(text, n, u.path);
        n = add(text, n, u.has_query ? SLICE("?") : SLICE(""));
        n = add(text, n, u.query);
        n = add(text, n, u.has_fragment ? SLICE("#") : SLICE(""));
        n = add(text, n, u.fragment);
        must(slice_eq(slice_of(text, n), s));
        must(!u.has_authority || (u.at.host.n > 0 && host_port_parse(u.authority, &at) == 0));
        must(u.path.n == 0 || !u.has_authority || u.path.p[0] == '/');
        for (size_t i = 0; i < size; i++)
            must(data[i] > 0x20 && data[i] < 0x7f);
    }
    if (host_port_parse(s, &at) == 0)
        must(at.has_port == (at.port != 0) && at.host.n > 0);
    (void)uri_default_port(s);
    if (uri_unescape(s, text, &n) == 0)
        must(n <= size);
    memcpy(text, data, size); /* in place too */
    if (uri_unescape(slice_of(text, size), text, &n) == 0)
        must(n <= size);
    return 0;
}
