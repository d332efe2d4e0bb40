/* A response head, whole and byte by byte: both must end alike. Its framing is asked for as the
 * answer to each kind of request. */
#include <stdlib.h>

#include "codec/http1_framing.h"

#define BYTES_MAX 2048 /* byte by byte is quadratic under a sanitizer */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_field lines[HEAD_FIELDS_MAX], lines_again[HEAD_FIELDS_MAX];
    const struct http1_limits limits = { .head_bytes_max = 1500, .target_bytes_max = 300 };
    struct http1_head head, slow;
    if (size > BYTES_MAX)
        return 0;
    http1_head_init(&head, lines, HEAD_FIELDS_MAX);
    int r = http1_parse_response(slice_of(data, size), &limits, &head);
    http1_head_init(&slow, lines_again, HEAD_FIELDS_MAX);
    int s = ERR_AGAIN;
    for (size_t n = 0; n <= size && s == ERR_AGAIN; n++)
        s = http1_parse_response(slice_of(data, n), &limits, &slow);
    must(r == s && head.why == slow.why && head.fields_count == slow.fields_count);
    must(r > 0 || r == ERR_AGAIN || head.why != HTTP1_WHY_NONE);
    for (unsigned bits = 0; bits < 8 && r > 0; bits++) {
        struct http1_asked asked = { .head = (bits & 1) != 0,
                                     .connect = (bits & 2) != 0,
                                     .upgrade = (bits & 4) != 0 };
        struct http1_framing f;
        if (http1_response_framing(&head, asked, &f) < 0)
            continue;
        must(!asked.head || f.body == HTTP1_BODY_NONE || f.body == HTTP1_BODY_TUNNEL);
        must(f.body != HTTP1_BODY_CLOSE || !f.is_persistent);
        must(f.body != HTTP1_BODY_LENGTH || f.has_length);
    }
    return 0;
}
