/* A request head, whole and byte by byte: both must end alike. What is taken is written again from
 * its parts, and must then be taken with the same meaning. */
#include <stdlib.h>

#include "base/chunk.h"
#include "codec/http1_framing.h"
#include "codec/http1_write.h"

#define BYTES_MAX 2048 /* byte by byte is quadratic under a sanitizer */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void write_again(const struct http1_head *head, const struct http1_framing *framing)
{
    static struct http1_field lines[HEAD_FIELDS_MAX];
    static uint8_t text[2 * BYTES_MAX];
    const struct http1_limits limits = HTTP1_LIMITS;
    struct chunk_pool *pool = chunk_pool_new();
    struct http1_head again;
    struct http1_framing framing_again;
    struct http1_writer w;
    struct buf b;
    buf_init(&b, pool, sizeof text);
    http1_write_request(&w, &b, head->method, head->target);
    for (size_t i = 0; i < head->fields_count; i++)
        http1_write_field(&w, head->fields[i].name, head->fields[i].value);
    must(http1_write_end(&w) == 0);
    size_t n = buf_copy(&b, 0, text, sizeof text);
    buf_done(&b);
    chunk_pool_free(pool);
    http1_head_init(&again, lines, HEAD_FIELDS_MAX);
    must(http1_parse_request(slice_of(text, n), &limits, &again) == (int)n);
    must(again.fields_count == head->fields_count && slice_eq(again.target, head->target));
    if (head->minor == 0)
        return;
    must(http1_request_framing(&again, &framing_again) == 0);
    must(framing_again.body == framing->body && framing_again.length == framing->length);
    must(slice_eq(framing_again.host, framing->host) && framing_again.upgrade == framing->upgrade);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_field lines[HEAD_FIELDS_MAX], lines_again[HEAD_FIELDS_MAX];
    const struct http1_limits limits = { .head_bytes_max = 1500, .target_bytes_max = 300 };
    struct http1_head head, slow;
    struct http1_framing framing;
    if (size > BYTES_MAX)
        return 0;
    http1_head_init(&head, lines, HEAD_FIELDS_MAX);
    int r = http1_parse_request(slice_of(data, size), &limits, &head);
    http1_head_init(&slow, lines_again, HEAD_FIELDS_MAX);
    int s = ERR_AGAIN;
    for (size_t n = 0; n <= size && s == ERR_AGAIN; n++)
        s = http1_parse_request(slice_of(data, n), &limits, &slow);
    must(r == s && head.why == slow.why && head.fields_count == slow.fields_count);
    must(r > 0 || r == ERR_AGAIN || head.why != HTTP1_WHY_NONE);
    if (r > 0 && http1_request_framing(&head, &framing) == 0) {
        must(framing.body != HTTP1_BODY_CLOSE && framing.body != HTTP1_BODY_TUNNEL);
        for (size_t i = 0; i < head.fields_count; i++)
            (void)http1_field_is_hop(&head, &framing, &head.fields[i]);
        write_again(&head, &framing);
    }
    return 0;
}
